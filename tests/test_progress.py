"""Progress in a notebook: one line that changes, and goes."""

import io
import subprocess
import sys

import pytest
from lightning.pytorch import Trainer

from tltool._progress import with_progress
from tltool.training.callbacks.progress_lines import EpochBar


class OutStream(io.StringIO):
    """What Jupyter puts in the place of the standard output."""


OutStream.__module__ = "ipykernel.iostream"


@pytest.fixture
def notebook(monkeypatch):
    """Return a function that makes this a notebook; In a fixture pytest would reset the output."""

    def begin():
        stream = OutStream()
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return begin


def test_a_notebook_has_one_line_that_is_empty_at_the_end(notebook):
    stream = notebook()
    assert list(with_progress(range(3), "features")) == [0, 1, 2]
    first, *_, last = stream.getvalue().split("\r")[1:]
    assert (first, last, "\n" in stream.getvalue()) == ("features 0%", "", False)


def test_a_pipe_has_none(capsys):
    assert list(with_progress(range(3), "features")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_training_has_one_bar_in_a_notebook(notebook):
    notebook()
    bar = EpochBar()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[bar])
    bar.setup(trainer, None, "fit")
    bars = [bar.init_sanity_tqdm(), bar.init_train_tqdm(), bar.init_validation_tqdm()]
    assert [each.disable for each in bars] == [True, False, True]
    assert bars[1].leave is False


def test_a_notebook_without_widgets_is_not_told_to_install_them():
    said = "import tltool, warnings; warnings.warn('IProgress not found. Please update')"
    subprocess.run([sys.executable, "-W", "error", "-c", said], check=True)
