"""What a run has not come to is never reported as its result, and its exit status says so."""

import contextlib
import csv
import io
import math
import re
import shutil

import pytest
import torch

from tests.conftest import write_images
from tltool.__main__ import main
from tltool._csv_rows import read_rows
from tltool.reporting.run_record import read_run
from tltool.reporting.run_verdict import judge_run

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--name", "run", "--finetuning", "LinearProbe"),
]
PHASES = ["--finetuning", "LPFT", "--finetuning.probe_epochs", "3", "--trainer.max_epochs", "6"]
STOPPING = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/accuracy"]
STOPPING += ["--trainer.callbacks.mode", "max", "--trainer.callbacks.patience", "1"]
LAST = "runs/run/0/checkpoints/last.ckpt"
BEST = "runs/run/0/checkpoints/best.ckpt"


@pytest.fixture
def fit(run_tltool, images):
    """Run `tltool fit` in an empty folder and return its exit status, output and errors."""
    short = ["--data.root", images, *SMALL, "--trainer.max_epochs", 1]
    return lambda *args: run_tltool("fit", *short, *args)


@pytest.fixture(scope="module")
def good_run(tmp_path_factory, images):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("good")
    words = ["fit", "--data.root", str(images), *SMALL, "--trainer.max_epochs", "1"]
    assert main([*words, "--runs_dir", str(folder / "runs")]) == 0
    return folder / "runs"


@pytest.fixture
def run_copy(good_run, tmp_path):
    shutil.copytree(good_run, tmp_path / "runs")


def spoil(path, value=math.nan, where=(0, 0)):
    """Write a number into the head of a checkpoint."""
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["head.output.weight"][where] = value
    torch.save(checkpoint, path)


def test_a_run_that_diverges_fails_and_says_what_to_set(fit):
    status, out, err = fit("--optimizer.lr", "1e30")
    assert status == 1
    assert "error: Training has diverged: after step 2 (epoch 1) NaN or infinity is in" in err
    assert "Set a lower --optimizer.lr (now 1e+30" in err
    assert "best val/accuracy" not in out


@pytest.mark.parametrize(
    "options",
    [
        ["--save_every_n_steps", "1"],
        ["--trainer.limit_val_batches", "0"],
        ["--optimizer", "SGD", "--optimizer.weight_decay", "0.05"],  # Without, it stays finite.
    ],
    ids=["step checkpoints", "no validation", "SGD"],
)
def test_no_checkpoint_of_a_diverged_network_is_written(fit, tmp_path, options):
    status, _, _ = fit("--optimizer.lr", "1e30", *options)
    checkpoints = list((tmp_path / "runs/run/0/checkpoints").iterdir())
    weights = [torch.load(c, weights_only=True)["state_dict"] for c in checkpoints]
    assert status == 1
    assert all(w.isfinite().all() for one in weights for w in one.values())


def test_a_loss_that_overflows_on_finite_weights_is_no_best_epoch(fit, tmp_path):
    step = ["--trainer.limit_train_batches", "1", "--optimizer", "SGD", "--optimizer.lr", "3e38"]
    status, _, err = fit(*step, "--model.head.hidden_features", "[4]", "--health.enabled", "false")
    assert status == 1
    assert "the validation loss is nan. Nothing was saved from there" in err
    assert not (tmp_path / BEST).exists()


@pytest.mark.parametrize(
    "command", [["predict", "--output", "p.csv"], ["validate"]], ids=lambda words: words[0]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_checkpoint_of_weights_that_are_none_is_refused(
    run_copy, run_tltool, images, tmp_path, command, value
):
    spoil(tmp_path / BEST, value)
    place = ["--ckpt_path", BEST, "--data.root", images, "--data.num_workers", 0]
    status, _, err = run_tltool(*command, *place)
    assert status == 1
    assert f"error: {BEST} holds NaN or infinity in 1 tensor: head.output.weight" in err
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("command", "found"),
    [("predict", "images, first"), ("validate", "its val/loss is")],
)
def test_outputs_that_are_none_are_refused(run_copy, run_tltool, images, tmp_path, command, found):
    spoil(tmp_path / BEST, 3e38, where=...)
    place = ["--ckpt_path", BEST, "--data.root", images, "--data.num_workers", 0]
    status, _, err = run_tltool(command, *place)
    assert status == 1
    assert f"error: {BEST} gives no numbers" in err
    assert found in err


def test_a_report_of_weights_that_are_none_is_refused(run_copy, run_tltool, tmp_path):
    spoil(tmp_path / BEST)
    status, _, err = run_tltool("report", "runs/run/0")
    assert status == 1
    assert "best.ckpt holds NaN or infinity" in err


def test_training_does_not_go_on_from_weights_that_are_none(run_copy, fit, tmp_path):
    spoil(tmp_path / LAST)
    status, _, err = fit("--ckpt_path", LAST, "--trainer.max_epochs", 2)
    assert status == 1
    assert "last.ckpt" in err
    assert "holds NaN or infinity in 1 tensor: head.output.weight" in err


def test_without_a_validation_the_last_line_names_what_is_there(fit, tmp_path):
    status, out, err = fit("--trainer.limit_val_batches", 0)
    assert status == 0
    assert f"last {LAST}: without a validation there is no best epoch" in out
    assert f"tltool predict --ckpt_path {LAST}" in out
    assert "best.ckpt" not in out + err


def test_epochs_in_front_of_the_first_validation_have_no_best(fit):
    _, out, err = fit("--trainer.check_val_every_n_epoch", 5)
    assert "best.ckpt" not in out
    assert "could not find the monitored key" not in err


def test_a_run_that_is_over_says_so(run_copy, fit):
    status, out, _ = fit("--ckpt_path", LAST)
    assert status == 0  # So that a requeued job ends.
    assert "nothing left to train: max_epochs 1 is reached; raise trainer.max_epochs" in out


def test_a_run_that_has_used_up_its_steps_says_so(run_copy, fit):
    _, out, _ = fit("--ckpt_path", LAST, "--trainer.max_epochs", 9, "--trainer.max_steps", 3)
    assert "nothing left to train: max_steps 3 is reached; raise trainer.max_steps" in out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--trainer.max_time", "00:00:00:00"], "max_time is used up"),
        (["--trainer.limit_train_batches", "0"], "limit_train_batches is 0"),
        (["--trainer.max_steps", "0"], "max_steps 0 is reached"),
    ],
)
def test_a_run_that_trained_nothing_fails(fit, options, why):
    status, out, err = fit(*options)
    assert status == 1
    assert f"error: Nothing was trained: {why}" in err
    assert "predict   tltool" not in out


def test_early_stopping_leaves_the_probe_its_length_and_ends_the_last_phase(fit, tmp_path):
    status, _, err = fit(*PHASES, *STOPPING)
    rows = csv.DictReader((tmp_path / "runs/run/0/metrics.csv").read_text().splitlines())
    epochs = {int(row["epoch"]) for row in rows if row["val/loss"]}
    assert status == 0
    assert "Phase full: trains everything" in err
    assert epochs >= {0, 1, 2, 3}
    assert "EarlyStopping counts from phase 'full' on" in err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([*STOPPING, "--trainer.callbacks.stopping_threshold", "0.1"], "EarlyStopping: Stopping"),
        (["--trainer.max_time", "00:00:00:01", "--finetuning.probe_epochs", "900"], "max_time"),
    ],
    ids=["threshold", "time"],
)
def test_a_phase_that_never_ran_is_said(fit, options, why):
    status, _, err = fit(*PHASES, "--trainer.max_epochs", 999, *options)
    assert status == 0
    assert f"Training ended in phase 'probe' ({why}" in err
    assert "'full' never ran" in err


def test_too_few_steps_for_the_second_phase_are_refused(fit):
    status, _, err = fit(*PHASES, "--trainer.max_steps", 5)
    assert status == 1
    assert "Phase 'full' would begin at step 9, but training ends after 5 steps" in err


def test_a_monitor_that_is_not_measured_is_refused_before_training(fit):
    words = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/acc"]
    status, _, err = fit(*words)
    assert status == 1
    assert "EarlyStopping monitors 'val/acc', which is not measured. Set `monitor` to one" in err


def test_a_worse_epoch_of_a_moved_run_does_not_replace_the_best(run_copy, fit, tmp_path):
    before = (tmp_path / BEST).read_bytes()
    worse = ["--trainer.limit_val_batches", 1, "--trainer.max_epochs", 2]
    status, out, _ = fit("--ckpt_path", LAST, *worse)
    assert status == 0
    assert "best val/accuracy 1.0000" in out
    assert (tmp_path / BEST).read_bytes() == before


@pytest.fixture(scope="module")
def lost_run(tmp_path_factory):
    """A run whose second phase loses what the first one had, and what it printed."""
    folder = tmp_path_factory.mktemp("lost")
    images = write_images(folder / "images", classes=("blue", "green", "red"), per_class=40)
    words = ["--data.root", images, *SMALL, "--finetuning", "LPFT", "--trainer.max_epochs", "2"]
    words += ["--finetuning.batch_norm", "train", "--finetuning.warmup", "0"]
    words += ["--optimizer.lr", "0.5", "--finetuning.backbone_lr_scale", "1.0"]
    words += ["--ending.choose", "last", "--runs_dir", folder]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["fit", *map(str, words)]) == 0
    return folder / "run" / "0", printed.getvalue()


def test_a_run_that_lost_ends_with_a_line_that_says_so(lost_run):
    [line] = [each for each in lost_run[1].splitlines() if each.startswith("lost ")]
    assert re.match(r"lost      this run \d\.\d+, the probe without training 1\.000: -0\.\d+", line)


def test_a_run_that_lost_says_last_which_phase_did_and_what_to_change(lost_run):
    last = lost_run[1].splitlines()[-1]
    assert last.startswith("next      It lost in phase full: val/accuracy fell from 1.000 to 0.")
    assert last.endswith("config.yaml --finetuning.batch_norm eval")


def test_a_phase_that_begins_by_losing_is_an_alarm(lost_run):
    alarms = read_rows(lost_run[0] / "alarms.csv")
    [alarm] = [alarm for alarm in alarms if alarm["cause"] == "lost accuracy"]
    assert (alarm["layer"], alarm["epoch"]) == ("phase full", "1")
    assert "--finetuning.batch_norm eval" in alarm["message"]


def test_the_next_step_of_a_report_names_the_phase_that_lost(lost_run, measured_split):
    verdict = judge_run(read_run(lost_run[0]), measured_split(run=70, probe=95))
    assert verdict.next_step.startswith("It lost in phase full: val/accuracy fell from 1.000 to 0")
    assert verdict.commands[0].endswith("--finetuning.batch_norm eval")


def test_a_monitor_that_is_nan_is_told_and_no_infinity_is_its_best(run_tltool, tmp_path):
    write_images(tmp_path / "images/train", per_class=8, size=32)
    write_images(tmp_path / "images/val", classes=["blue"], per_class=4, size=32)
    words = ["--data.root", "images", *SMALL, "--data.tuning_fraction", 0, "--monitor", "val/auroc"]
    status, out, err = run_tltool("fit", *words, "--trainer.max_epochs", 2)
    assert status == 0, err
    assert err.count("val/auroc is NaN after epoch") == 1
    assert f"\nbest {BEST}: its val/auroc is no finite number\n" in out
    assert "inf" not in out.split("\nbest ")[1]
    assert read_run(tmp_path / "runs/run/0").best_epoch is None
