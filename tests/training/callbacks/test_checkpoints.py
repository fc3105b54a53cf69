import math
import os
import resource
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tltool.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from tltool.training.checkpoint_io import AtomicCheckpointIO

# Writes one good checkpoint, then large ones over it until it is killed.
WRITER = """
import sys, torch
from tltool.training.checkpoint_io import AtomicCheckpointIO
io = AtomicCheckpointIO()
io.save_checkpoint({"weights": torch.zeros(10)}, sys.argv[1])
print("ready", flush=True)
while True:
    io.save_checkpoint({"weights": torch.zeros(5_000_000)}, sys.argv[1])
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_readable_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.35)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert torch.load(path, weights_only=True)["weights"].numel() in {10, 5_000_000}


def test_a_failed_write_keeps_the_checkpoint_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "best.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(AttributeError, match="local object"):
        AtomicCheckpointIO().save_checkpoint({"epoch": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["best.ckpt"]


@pytest.fixture
def full_disk():
    """Let no file grow beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room_is_named_and_keeps_the_checkpoint(tmp_path, full_disk):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(OSError, match=r"Cannot write '.*last.ckpt': File too large. Make room"):
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(1_000_000)}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_saving_every_0_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be at least 1, got 0\. Leave it out"):
        LastCheckpoint(tmp_path, every_n_steps=0)


def validate(best, *epochs):
    """Let a callback see the accuracy and loss of each epoch; return those of ``best.ckpt``."""
    saved = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision: decision)
    trainer = SimpleNamespace(strategy=strategy, callback_metrics={}, save_checkpoint=saved.append)
    trainer.checkpoint_callbacks, trainer.is_global_zero, trainer.current_epoch = [best], True, 0
    trainer.callback_metrics = metrics = {}
    kept = None
    for number, (accuracy, loss) in enumerate(epochs):
        metrics.update({best.monitor: torch.tensor(accuracy), "val/loss": torch.tensor(loss)})
        if best.check_monitor_top_k(trainer, metrics[best.monitor]):
            with patch.object(ModelCheckpoint, "_save_checkpoint"):
                candidates = {"epoch": torch.tensor(number), **metrics}
                best._update_best_and_save(metrics[best.monitor], trainer, candidates)
            kept = number
    return kept


@pytest.fixture
def best(tmp_path):
    with patch.object(ModelCheckpoint, "file_exists", return_value=False):
        yield BestCheckpoint(tmp_path)


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        ([(0.9, 0.5), (0.9, 0.3), (0.9, 0.4)], 1),  # of equal ones the least loss
        ([(0.9, 0.5), (0.8, 0.1)], 0),  # the accuracy comes first
        ([(0.9, 0.1), (0.95, 0.9), (0.9, 0.05)], 1),
        ([(0.9, 0.3), (0.9, 0.3)], 0),  # the first of equal ones
        ([(0.9, 0.3), (0.9, math.nan)], 0),
        ([(math.nan, 0.1), (0.2, 0.9), (math.nan, 0.1)], 1),  # NaN is the worst
        ([(math.nan, 0.5), (math.nan, 0.3), (math.nan, 0.4)], 1),
    ],
)
def test_of_equal_epochs_that_with_the_smallest_loss_is_kept(best, epochs, kept):
    assert validate(best, *epochs) == kept


def test_a_resumed_callback_knows_the_loss_of_the_best_epoch(best, tmp_path):
    validate(best, (0.9, 0.3))
    resumed = BestCheckpoint(tmp_path)
    resumed.load_state_dict(best.state_dict())
    with patch.object(ModelCheckpoint, "file_exists", return_value=False):
        assert validate(resumed, (0.9, 0.4)) is None
        assert validate(resumed, (0.9, 0.2)) == 0


def test_a_loss_that_is_nan_is_told_with_its_own_cause(tmp_path, caplog):
    with patch.object(ModelCheckpoint, "file_exists", return_value=False):
        validate(BestCheckpoint(tmp_path, "val/loss"), (math.nan, math.nan))
    assert "val/loss is NaN after epoch 1" in caplog.text
    assert "training has diverged" in caplog.text


def test_a_metric_that_is_nan_is_told_once_with_its_cause(best, caplog):
    validate(best, (math.nan, 0.5), (math.nan, 0.3))
    assert caplog.text.count("val/accuracy is NaN after epoch 1") == 1
    assert "the validation images lack classes" in caplog.text


def test_a_loss_that_is_monitored_is_the_least(tmp_path):
    with patch.object(ModelCheckpoint, "file_exists", return_value=False):
        assert (
            validate(BestCheckpoint(tmp_path, "val/loss"), (0.5, 0.5), (0.4, 0.4), (0.6, 0.6)) == 1
        )
