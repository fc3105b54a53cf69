"""Exports that cannot be written."""

import errno
import os
from pathlib import Path

import pytest
import torch

from tltool.inference.export.exporting import FORMATS, ExportFormat, export
from tltool.training.checkpoint_io import TASK

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def checkpoint(make_predictor, tmp_path):
    task = make_predictor().task
    torch.save({TASK: task.task_config, "state_dict": task.state_dict()}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def fill_disk(*args, **kwargs):
    raise FULL


def test_a_full_disk_is_named_with_what_to_do(checkpoint, monkeypatch):
    monkeypatch.setitem(FORMATS, "timm", ExportFormat(fill_disk, ""))
    with pytest.raises(OSError, match=r"best': No space left on device. Make room there, or set"):
        export(checkpoint, to="timm")


@pytest.mark.slow
def test_a_graph_of_torch_does_not_end_the_process_on_a_full_disk(checkpoint, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", fill_disk)  # Whoever else writes would abort there.
    with pytest.raises(OSError, match=r"No space left on device\. Make room"):
        export(checkpoint, to="torch-export")
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best.ckpt"]
