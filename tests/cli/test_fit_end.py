"""What the last screen of a fit says of its best checkpoint."""

from types import SimpleNamespace

import pytest
import torch

from tltool.cli.fit_end import print_best
from tltool.inference.refit_start import REFIT
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.checkpoint_io import TASK


@pytest.fixture
def said(tmp_path, capsys):
    """Return a function that prints what a checkpoint says to a run that monitors ``val/f1``."""

    def say(**content):
        folder = tmp_path / "checkpoints"
        folder.mkdir()
        torch.save({"state_dict": {}, TASK: {}, **content}, folder / "best.ckpt")
        best = BestCheckpoint(folder, "val/f1")
        print_best(tmp_path, SimpleNamespace(checkpoint_callback=best, callbacks=[best]))
        return capsys.readouterr().out

    return say


def test_a_score_is_said_under_the_metric_that_it_is_of(said, tmp_path):
    other = BestCheckpoint(tmp_path, "val/accuracy")
    other.best_model_score = torch.tensor(0.75)
    found = said(callbacks={other.state_key: other.state_dict()})
    assert found.startswith("\nbest val/accuracy 0.7500: ")


@pytest.mark.parametrize("candidate", ["average of 2", REFIT])
def test_weights_without_a_score_are_named(said, candidate):
    found = said(ending={"candidate": candidate})
    assert found.endswith(f"best.ckpt: the {candidate}, whose val/f1 is not known\n")
