import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tltool.training.callbacks.checkpoints import LastCheckpoint
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


def test_saving_every_0_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be at least 1, got 0\. Leave it out"):
        LastCheckpoint(tmp_path, every_n_steps=0)
