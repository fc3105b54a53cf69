"""Surgery from the command line: what it damages is said before training."""

import pytest
import torch

from tltool.models.backbone import Backbone

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
]
GELU = ("--model.backbone.surgery", "[{swap_activations: gelu}]")


@pytest.fixture
def tltool(run_tltool, images):
    """Run a command in an empty folder and return all that it says."""

    def run(command, *args):
        status, out, err = run_tltool(command, "--data.root", images, *SMALL, *args)
        assert status == 0, err
        return out + err

    return run


@pytest.mark.parametrize("command", ["fit", "plan", "doctor"])
def test_an_edited_backbone_that_stays_frozen_is_said_once(tltool, command):
    said = " ".join(tltool(command, "--finetuning", "LinearProbe", *GELU).split())
    assert said.count("stay frozen") == 1
    assert "match: moments" in said


def test_what_auto_freezes_is_said_too(tltool, tmp_path):
    torch.save(Backbone("test_resnet", weights="random").model.state_dict(), tmp_path / "w.pth")
    said = " ".join(tltool("plan", "--model.backbone.weights", "w.pth", *GELU).split())
    assert said.count("stay frozen") == 1
