"""SignalStop saves by the clock, warns of slow saves, and keeps averages of weights apart."""

import os
import runpy
import signal
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging

from tltool.finetuning.phase import Phase
from tltool.training.callbacks.checkpoints import LastCheckpoint
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.signal_stop import SignalStop
from tltool.training.distributed.signals import SignalStopped

Phases = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["Phases"]

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")


class Saves(Callback):
    def __init__(self, seconds=0.0):
        self.seconds, self.steps = seconds, []

    def on_save_checkpoint(self, trainer, *args):
        self.steps.append(trainer.global_step)
        time.sleep(self.seconds)


class StopInValidation(Callback):
    def on_validation_batch_start(self, trainer, *args):
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def train(fit, make_task, tmp_path):
    """Return a function that trains with callbacks; each epoch has 4 steps."""

    def run(*callbacks, save_every=None, grace_period="30s", **options):
        last = LastCheckpoint(tmp_path)
        stop = SignalStop(last, save_every, grace_period)
        task, finetuning = make_task(), Finetuning(Phases(Phase("all", ("*",))))
        options = {"enable_checkpointing": True} | options
        return fit(task, *callbacks, finetuning, last, stop, **options)

    return run


def test_it_saves_by_the_clock(train):
    saves = Saves()
    train(saves, save_every="0.0001s")
    assert saves.steps == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_it_does_not_save_before_its_time(train):
    saves = Saves()
    train(saves, save_every="1h")
    assert saves.steps == [0, 4, 8]


def test_by_the_clock_too_only_whole_steps_are_saved(train):
    saves = Saves()
    train(saves, save_every="0.0001s", accumulate_grad_batches=2)
    assert saves.steps == [0, 1, 2, 3, 4]


def test_a_save_that_takes_longer_than_the_grace_period_is_warned_of_once(train, caplog):
    train(Saves(seconds=0.02), grace_period="0.01s")
    warnings = [each.message for each in caplog.records if "a run is killed" in each.message]
    assert len(warnings) == 1
    assert "--grace_period" in warnings[0]


def test_a_save_within_the_grace_period_is_not(train, caplog):
    train(Saves())
    assert "a run is killed" not in caplog.text


@pytest.mark.parametrize("option", ["save_every", "grace_period"])
def test_what_is_no_duration_is_refused(train, option):
    with pytest.raises(ValueError, match="'often' is no duration"):
        train(**{option: "often"})


def test_a_stop_in_a_validation_saves_weights_and_average_each_in_its_place(train, tmp_path):
    average = EMAWeightAveraging(decay=0.5)
    with pytest.raises(SignalStopped):
        train(StopInValidation(), average)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    name = "head.1.weight"
    assert torch.equal(saved["state_dict"][name], average._average_model.module.state_dict()[name])
    assert not torch.equal(saved["state_dict"][name], saved["current_model_state"][name])


def test_a_trial_is_stopped_without_a_checkpoint(train, tmp_path):
    with pytest.raises(SignalStopped):
        train(StopAtOnce(), fast_dev_run=2)
    assert not list(tmp_path.glob("*.ckpt"))


class StopAtOnce(Callback):
    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
