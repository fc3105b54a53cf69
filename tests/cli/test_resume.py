"""`tltool fit --ckpt_path`: the whole of the training, and its whole history."""

import csv
import re

import pytest
import torch

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "4", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "4"),
]
LAST = "runs/images/0/checkpoints/last.ckpt"
BEST = "runs/images/0/checkpoints/best.ckpt"


@pytest.fixture
def fit(run_tltool, images):
    """Run `tltool fit` in an empty folder and return its output."""

    def run(*words):
        status, out, err = run_tltool("fit", "--data.root", images, *SMALL, *words)
        assert status == 0, err
        return out

    return run


def rows(number):
    with open(f"runs/images/{number}/metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def trained(number):
    path = f"runs/images/{number}/checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    return checkpoint["global_step"], checkpoint["state_dict"]


def assert_same_runs():
    (steps, weights), (other_steps, other_weights) = trained(0), trained(1)
    assert steps == other_steps == 20  # four epochs of five steps
    torch.testing.assert_close(weights, other_weights, rtol=0, atol=0)
    assert rows(0) == rows(1)


@pytest.mark.parametrize("strategy", ["LinearProbe", "LPFT"])
def test_a_run_that_max_steps_ended_inside_an_epoch_trains_all_of_it(fit, strategy):
    first = fit("--finetuning", strategy, "--trainer.max_steps", "13")
    again = fit("--finetuning", strategy, "--trainer.max_steps", "-1", "--ckpt_path", LAST)
    assert [", with earlier starts " in said for said in (first, again)] == [False, True]
    assert trained(0)[0] == 20


@pytest.mark.slow
def test_a_run_resumed_from_a_best_epoch_inside_one_equals_a_straight_one(fit):
    words = ["--trainer.val_check_interval", "0.4", "--finetuning", "FullFinetuning"]
    words += ["--health.enabled", "false"]  # What it has seen of an epoch is in no checkpoint.
    fit(*words)
    fit(*words, "--ckpt_path", BEST)
    fit(*words)
    assert_same_runs()


def test_a_run_resumed_from_a_best_second_epoch_loses_nothing_of_it(fit):
    words = ["--trainer.check_val_every_n_epoch", "2"]
    fit(*words)
    before = rows(0)
    fit(*words, "--ckpt_path", BEST)
    assert rows(0) == before
    assert [row["epoch"] for row in before if "val/loss" in row] == ["1", "3"]


def test_an_epoch_without_a_validation_prints_no_numbers_of_one(fit):
    out = fit("--trainer.check_val_every_n_epoch", "2")
    shown = [line for line in out.splitlines() if re.match(r"epoch \d/4", line)]
    assert ["val/loss" in line for line in shown] == [False, True, False, True]


def test_the_rest_of_a_resumed_epoch_gets_its_line(fit):
    fit("--trainer.max_steps", "8")
    out = fit("--ckpt_path", LAST)
    assert re.findall(r"^epoch (\d)/4", out, re.MULTILINE) == ["2", "3", "4"]


def test_last_layers_that_read_activations_go_on_inside_an_epoch(fit):
    words = ["--finetuning", "LastBlocks", "--data.augmentation", "crop", "--features.views", "2"]
    words += ["--health.enabled", "false", "--trainer.val_check_interval", "0.4"]
    fit(*words)
    fit(*words, "--ckpt_path", BEST)
    fit(*words)
    assert_same_runs()


def test_the_cut_that_activations_are_kept_at_is_said(run_tltool, images):
    words = ["--finetuning", "LastBlocks", "--data.root", images, *SMALL]
    words += ["--data.augmentation", "none"]
    _, _, err = run_tltool("fit", *words)
    assert "Frozen up to layer3: the layers behind read activations of 24 images" in err
