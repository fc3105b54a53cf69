"""What cannot be is said before weights are loaded, and leaves no run directory behind."""

import re

import pytest
import torch
import yaml

from tltool.models.backbone import Backbone

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.img_size", "32"),
    *("--data.num_workers", "0", "--trainer.accelerator", "cpu"),
]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.batch_size", "0"], "The batch size must be at least 1, got 0."),
        (["--data.batch_size", "64"], "The batch size 64 is larger than the"),
        (["--data.val_fraction", "1.5"], "val_fraction"),
        (["--data.root", "imagse"], "imagse"),
        (["--optimizer.lr", "-1"], "Invalid learning rate: -1.0. Set another value of it"),
        (["--trainer.max_epochs", "0"], "`max_epochs: 0` trains nothing."),
    ],
)
def test_what_cannot_be_is_said_before_weights_are_loaded(
    run_tltool, images, tmp_path, words, message
):
    no_weights = ["--model.backbone.weights", "none.safetensors"]  # Loading them is another error.
    status, _, err = run_tltool("fit", "--data.root", images, *SMALL, *no_weights, *words)
    assert status == 1
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_features_that_overflow_are_said_in_front_of_the_probe(run_tltool, images, tmp_path):
    state = Backbone("test_resnet", weights="random").model.state_dict()
    large = {name: 1e20 * value for name, value in state.items() if value.is_floating_point()}
    torch.save(state | large, tmp_path / "large.pt")
    words = ["--data.root", images, *SMALL, "--model.backbone.weights", tmp_path / "large.pt"]
    status, _, err = run_tltool("fit", *words, "--trainer.max_epochs", 1)
    assert status == 1
    assert "error: The backbone gives features that are NaN or infinite. Check its weights" in err
    assert "Traceback" not in err


def test_images_are_listed_once(run_tltool, images, monkeypatch):
    from tltool import ImageFolderDataModule

    listed = []
    find = ImageFolderDataModule.find_records
    monkeypatch.setattr(
        ImageFolderDataModule, "find_records", lambda data: listed.append(1) or find(data)
    )
    random = ["--model.backbone.weights", "random", "--data.batch_size", "8"]
    status, _, err = run_tltool("plan", "--data.root", images, *SMALL, *random)
    assert (status, listed) == (0, [1]), err


def test_a_start_that_fails_gives_its_number_back(run_tltool, images, tmp_path):
    late = ["--model.backbone.weights", "random", "--trainer.enable_checkpointing", "false"]
    words = ["--data.root", images, *SMALL, "--data.batch_size", "8", *late]
    status, _, err = run_tltool("fit", *words)
    assert (status, "would leave no best.ckpt" in err) == (1, True)
    assert list((tmp_path / "runs/images").iterdir()) == []


def test_a_batch_size_that_is_not_given_fits_few_images_and_is_kept(run_tltool, images, tmp_path):
    words = ["--data.root", images, *SMALL, "--model.backbone.weights", "random"]
    words += ["--finetuning", "LinearProbe", "--run_dir", "mine", "--trainer.max_epochs"]
    status, _, err = run_tltool("fit", *words, 1)
    assert (status, err.count("The batch size is 16, not 32: there are 20 training images")) == (
        0,
        1,
    )
    saved = yaml.safe_load((tmp_path / "mine/config.yaml").read_text())
    assert saved["data"]["init_args"]["batch_size"] == 16
    status, out, err = run_tltool("fit", *words, 2)
    assert (status, "batch size" in err) == (0, False)
    assert re.findall(r"^resume +(\S+)", out, re.M) == ["trainer.max_epochs"]


def test_a_plan_has_the_batch_size_that_fits(run_tltool, images):
    words = ["--data.root", images, *SMALL, "--model.backbone.weights", "random"]
    assert "16 images a step, 16 per device" in run_tltool("plan", *words)[1]


def test_a_value_of_another_type_is_answered_with_the_flag(run_tltool):
    for flag, kind in (("--data.batch_size", "a whole number"), ("--optimizer.lr", "a number")):
        status, _, err = run_tltool("fit", "images", flag, "big")
        assert (status, f"error: {flag} is {kind}, and not 'big'." in err) == (2, True), err


def test_too_few_folds_are_said_before_anything_is_read(run_tltool):
    status, _, err = run_tltool("compare", "--data.root", "nowhere", "--folds", "2")
    assert (status, "needs at least 3 folds, got 2" in err) == (1, True)
