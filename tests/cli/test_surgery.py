"""Surgery from the command line: what it damages is said before training."""

import re

import pytest
import torch
from PIL import Image

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


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_an_edited_backbone_that_stays_frozen_is_said_once(tltool, command):
    said = " ".join(tltool(command, "--finetuning", "LinearProbe", *GELU).split())
    assert said.count("stay frozen") == 1
    assert "match: moments" in said


def test_what_auto_freezes_is_said_too(tltool, tmp_path):
    torch.save(Backbone("test_resnet", weights="random").model.state_dict(), tmp_path / "w.pth")
    said = " ".join(tltool("plan", "--model.backbone.weights", "w.pth", *GELU).split())
    assert said.count("stay frozen") == 1


@pytest.mark.slow
def test_a_fit_says_before_training_what_was_edited_and_a_resumed_one_not_again(tltool):
    words = ("--finetuning", "LinearProbe", *GELU, "--run_dir", "run")
    said = tltool("fit", *words)
    (line,) = (line for line in said.splitlines() if line.startswith("surgery"))
    assert "Swapped 12 of 12 activations (relu) for gelu" in line
    assert re.search(r"moves the features by \d\.\d\d of their length \(cosine \d\.\d\d", line)
    assert said.index(line) < said.index("probe ")
    assert said.count("stay frozen") == 1
    assert "of their length" not in tltool("fit", *words, "--trainer.max_epochs", "2")


def test_the_damage_is_measured_and_drawn_by_layer(tltool):
    said = tltool("plan", *GELU, "--measure_surgery", "--plot", "damage.png")
    assert re.search(r"probe    \d\.\d+ \+- \d\.\d+ without the edits, \d\.\d+ \+- ", said)
    assert re.search(r"damage   [+-]\d\.\d+ \+- \d\.\d+.* on \d validation images", said)
    assert "drift    0." in said
    with Image.open("damage.png") as picture:
        assert picture.width > 600


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no edit changes them. Set --model.backbone.surgery"),
        (("--finetuning", "LoRA"), "no edit changes them"),
        ((*GELU, "--lr_range", "--plot", "both.png"), "--plot draws one picture"),
        ((*GELU, "--advise"), "--advise and --measure_surgery are two questions"),
    ],
)
def test_a_damage_that_cannot_be_measured_is_refused(run_tltool, images, words, message):
    command = ("plan", "--data.root", images, *SMALL, "--measure_surgery", *words)
    status, _, err = run_tltool(*command)
    assert (status, message in err) == (1, True)


def test_a_swap_in_the_last_stage_alone_is_within_noise(tltool):
    edit = "[{swap_activations: {to: gelu, only: 'layer4.*'}}]"
    said = tltool("plan", "--model.backbone.surgery", edit, "--measure_surgery")
    assert re.search(r"damage   [+-]0\.\d+ \+- \d\.\d+, within noise, on", said)


def test_a_matched_swap_is_calibrated_before_it_is_measured(tltool):
    edit = "[{swap_activations: {to: gelu, match: moments}}]"
    said = tltool("plan", "--model.backbone.surgery", edit, "--measure_surgery")
    drift = float(re.search(r"drift    (\d\.\d\d)", said)[1])
    naive = float(re.search(r"drift    (\d\.\d\d)", tltool("plan", *GELU, "--measure_surgery"))[1])
    assert drift < naive
