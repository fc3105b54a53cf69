"""A run that has diverged ends with an error, before anything of it is saved."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from tltool.finetuning.strategies import FullFinetuning
from tltool.training.callbacks.divergence import Divergence
from tltool.training.callbacks.finetuning import Finetuning


class Spoil(Callback):
    """Write NaN into the head behind a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == self.step:
            with torch.no_grad():
                pl_module.head[1].weight[0, 0] = torch.nan


@pytest.fixture
def diverge(make_task, fit, tmp_path):
    """Fit a network that becomes NaN behind a step, with a checkpoint of every step."""

    def run(step, **options):
        saved = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=1, save_top_k=-1)
        callbacks = [Divergence(), Finetuning(FullFinetuning()), Spoil(step), saved]
        fit(make_task(), *callbacks, enable_checkpointing=True, **options)

    return run


@pytest.mark.parametrize("step", [1, 3, 7])
def test_no_step_behind_it_is_saved(diverge, tmp_path, step):
    with pytest.raises(ValueError, match=r"NaN or infinity is in .*head\.1\.weight"):
        diverge(step)
    assert len(list(tmp_path.glob("saved/*"))) == step - 1


def test_it_is_noticed_without_checkpoints_too(make_task, fit):
    callbacks = [Divergence(), Finetuning(FullFinetuning()), Spoil(3)]
    with pytest.raises(ValueError, match=r"diverged: after step 4 \(epoch 1\)"):
        fit(make_task(), *callbacks)


def test_a_loss_that_is_none_before_training_is_not_blamed_on_it(make_task, fit):
    task = make_task()
    torch.nn.init.constant_(task.head[1].weight, 3e38)
    with pytest.raises(ValueError, match=r"before training.*tltool doctor"):
        fit(task, Divergence(), Finetuning(FullFinetuning()))


def test_weights_that_are_none_are_refused_before_training(make_task, fit):
    task = make_task()
    torch.nn.init.constant_(task.head[1].bias, torch.nan)
    with pytest.raises(ValueError, match=r"cannot start from the model.*head\.1\.bias"):
        fit(task, Divergence(), Finetuning(FullFinetuning()))


def test_a_run_that_learns_is_left_alone(make_task, fit):
    trainer = fit(make_task(), Divergence(), Finetuning(FullFinetuning()))
    assert trainer.global_step == 8
