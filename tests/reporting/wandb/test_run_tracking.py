"""What a run leaves on Weights & Biases, read back from its offline file."""

import json
import os
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image

import tltool.cli.fit
import tltool.reporting.wandb
from tests.conftest import write_images
from tltool.__main__ import main
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.loading.samples import Samples, Splits
from tltool.evaluation.predictions import PredictionSet
from tltool.models.backbone import Backbone
from tltool.reporting.wandb.charts import MOST_CHARTS, ChartBudget
from tltool.reporting.wandb.logger import wandb_logger
from tltool.reporting.wandb.media import log_predictions
from tltool.reporting.wandb.run_identity import RunIdentity, find_identity, keep_identity
from tltool.reporting.wandb.run_logger import finish
from tltool.reporting.wandb.run_tracking import WandbTracking
from tltool.training.distributed.signals import SignalStopped
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import git_commit
from tltool.training.run_facts import split_fingerprint

README = Path(tltool.reporting.wandb.__path__[0]) / "README.md"
COLORS = {"blue": (40, 60, 200), "red": (210, 50, 40)}  # of the images
PHASES = ("--finetuning", "LPFT", "--finetuning.probe_epochs", "1", "--trainer.max_epochs", "3")
FULL = ("--finetuning", "FullFinetuning", "--trainer.max_epochs", "1")
FULL += ("--data.augmentation", "flip", "--model.backbone.drop_path_rate", "0.2")
HEAD = ("--model.head.hidden_features", "[4]", "--model.head.activation", "gelu")


SMALL = (
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(fit_offline, images, folder):
    """A run in two phases, with a learning rate that raises an alarm."""
    options = ("--wandb.group", "heads", "--wandb.job_type", "trial", "--wandb.tags", "[a, b]")
    return fit_offline(
        folder, "--data.root", images, *PHASES, *HEAD, "--optimizer.lr", "0.3", *options
    )[0]


def test_runs_of_one_name_are_a_group_by_default(run_with_images):
    assert (run_with_images.group, run_with_images.job_type) == ("images", "fit")


@pytest.fixture(scope="module")
def run_with_images(fit_offline, images, tmp_path_factory):
    options = ("--wandb.log_images", "true", "--wandb.log_checkpoints", "true")
    folder = tmp_path_factory.mktemp("with images")
    return fit_offline(folder, "--data.root", images, *FULL, *options)[0]


def column(run, name):
    return [row[name] for row in run.history if name in row]


def pixels(run, entry):
    return np.asarray(Image.open(run.files / entry["path"]))


def test_the_nested_config_is_that_of_the_run(run, folder):
    saved = yaml.safe_load((folder / "images" / "0" / "config.yaml").read_text())
    assert run.config["config"] == saved


def test_a_flat_block_tells_runs_apart(run, images):
    expected = {
        "backbone": "test_resnet",
        "weights": "random",
        "head": "Head(4)",
        "activation": "gelu",
        "norm": None,
        "initializer": "auto",
        "finetuning": "LPFT",
        "phases": ["probe", "full"],
        "lr": 0.3,
        "global_batch": 8,
        "seed": 0,
        "devices": 1,
        "data": images.name,
        "trainable_parameters": 373086,
        "max_epochs": 3,
        "augmentation": "crop",
        "img_size": [32, 32],
        "num_classes": 2,
        "num_train": 20,
        "num_val": 4,
        "torch_version": version("torch"),
    }
    assert {name: run.config[name] for name in expected} == expected
    assert len(run.config["split"]) == 12
    assert "commit" in run.config


def test_the_name_says_what_the_run_is(run):
    assert run.name == "images/0 test_resnet Head(4) gelu LPFT lr 0.3 seed 0"
    assert (run.group, run.job_type, run.tags) == ("heads", "trial", ["a", "b"])


def test_every_epoch_has_its_metrics(run):
    names = ["train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/f1", "val/auroc"]
    names += ["val/calibration_error", "best/accuracy", "health/update_to_weight_max"]
    assert {name: len(column(run, name)) for name in names} == dict.fromkeys(names, 3)
    assert len(column(run, "lr/head")) == 9
    assert len(column(run, "lr/backbone.layer4")) == 9


def test_the_last_metrics_and_those_of_the_best_epoch_are_in_the_summary(run):
    losses, accuracies = column(run, "val/loss"), column(run, "val/accuracy")
    assert run.summary["val/accuracy"] == accuracies[-1]
    best = accuracies.index(max(accuracies))
    found = [run.summary[f"best/{name}"] for name in ("epoch", "accuracy", "loss")]
    assert found == pytest.approx([best + 1, accuracies[best], losses[best]])


def test_epochs_are_counted_from_1(run):
    assert sorted(set(column(run, "epoch"))) == [1, 2, 3]


def test_each_step_of_a_short_run_has_loss_gradient_and_throughput(run):
    losses = column(run, "step/loss")
    assert len(losses) == 9
    sizes = [8, 8, run.config["num_train"] - 16]
    mean = np.average(losses[:3], weights=sizes)
    assert mean == pytest.approx(column(run, "train/loss")[0], rel=1e-4)
    assert min(column(run, "step/gradient_norm") + column(run, "step/images_per_second")) > 0


def test_both_baselines_and_the_gain_over_them_are_in_the_summary(run):
    summary = run.summary
    probe, majority = (summary["val/accuracy_of_probe"], summary["baseline/majority_accuracy"])
    assert (probe, majority) == (1.0, 0.5)
    assert summary["gain_over_probe"] == pytest.approx(summary["val/accuracy_of_best"] - probe)
    assert 0 <= summary["gain_over_probe_se"] < 0.5
    assert summary["gain_over_majority"] == pytest.approx(summary["best/accuracy"] - majority)


def test_the_gain_over_the_probe_has_one_name_whatever_training_reads(run, run_with_images):
    names = [{n for n in each.summary if "probe" in n} for each in (run, run_with_images)]
    expected = {"gain_over_probe", "gain_over_probe_se", "val/accuracy_of_probe"}
    assert names == [expected, expected]


def test_the_beginning_of_each_phase_is_marked(run):
    marks = [(row["phase"], row["trainer/global_step"]) for row in run.history if "phase" in row]
    assert marks == [(0, 0), (1, 3)]


def test_an_alarm_becomes_an_alert_once(run):
    titles = [alert.title for alert in run.alerts]
    assert any(title.startswith("large updates: head") for title in titles)
    assert len(set(titles)) == len(titles)
    assert "Lower the learning rate" in run.alerts[0].text


def test_at_the_end_stand_classes_confusion_reliability_and_health(run):
    for section in ("best", "last"):
        (table,) = column(run, f"{section}/classes")
        rows = json.loads((run.files / table["path"]).read_text())["data"]
        assert [row[:2] for row in rows] == [["blue", 2], ["red", 2]]
    names = ["best/confusion", "best/reliability", "last/confusion", "health/layers"]
    assert all(pixels(run, column(run, name)[0]).std() > 10 for name in names)


def test_no_image_and_no_checkpoint_leaves_unless_asked_for(run):
    images = {path.parent.name + "/" + path.name.split("_")[0] for path in run.files.rglob("*.png")}
    allowed = {f"{s}/{n}" for s in ("best", "last") for n in ("confusion", "reliability")}
    assert images == allowed | {"health/layers"}
    assert {artifact.type for artifact in run.artifacts} == {"run_table"}


def test_augmented_images_have_their_true_colors(run_with_images):
    (images,) = column(run_with_images, "train/augmented")
    means = [pixels(run_with_images, {"path": name}).mean((0, 1)) for name in images["filenames"]]
    nearest = [min(np.abs(mean - color).max() for color in COLORS.values()) for mean in means]
    assert len(means) == 16
    assert max(nearest) < 8


def test_the_worst_images_have_their_true_colors_and_say_what_they_are(run_with_images):
    (images,) = column(run_with_images, "best/worst_images")
    for name, caption in zip(images["filenames"], images["captions"], strict=True):
        label = caption.split("(is ")[1].rstrip(")")
        mean = pixels(run_with_images, {"path": name}).mean((0, 1))
        assert mean == pytest.approx(COLORS[label], abs=8)


def test_what_is_logged_changes_nothing_that_is_learned(run_with_images, images, tmp_path):
    plain = [*SMALL, "--data.root", str(images), *FULL, "--runs_dir", str(tmp_path)]
    assert main(["fit", *plain]) == 0
    folders = (run_with_images.files.parents[2], tmp_path / "images" / "0")
    with_images, without = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in folders
    )
    torch.testing.assert_close(with_images, without, rtol=0, atol=0)


def test_checkpoints_are_versions_of_one_artifact(run_with_images):
    models = [a for a in run_with_images.artifacts if a.type == "model"]
    assert {alias for a in models for alias in a.aliases} == {"best", "last", "latest"}
    assert len({a.name for a in models}) == 1
    (content,) = models[0].manifest.contents
    assert "state_dict" in torch.load(content.local_path, weights_only=True)
    assert "/wandb/artifacts/staging/" in content.local_path


def test_the_best_checkpoint_that_is_sent_is_the_one_that_lies_in_the_run_directory(
    fit_offline, tmp_path
):
    images = write_images(tmp_path / "many", per_class=100)  # Enough for a temperature and limits.
    head = ("--finetuning", "LinearProbe", "--trainer.max_epochs", "1")
    options = ("--data.val_fraction", "0.5", "--wandb.log_checkpoints", "true")
    (run,) = fit_offline(tmp_path, "--data.root", images, *head, *options)
    (best,) = [a for a in run.artifacts if "best" in a.aliases]
    (content,) = best.manifest.contents
    (kept,) = tmp_path.glob("*/*/checkpoints/best.ckpt")
    assert Path(content.local_path).read_bytes() == kept.read_bytes()
    assert {"calibration", "trust"} <= torch.load(kept, weights_only=True).keys()


def test_a_run_stopped_behind_its_training_sends_its_checkpoints_when_it_is_started_again(
    images, tmp_path, offline_runs, monkeypatch
):
    head = ["--finetuning", "LinearProbe", "--trainer.max_epochs", "1", "--data.root", str(images)]
    logged = ["--wandb.project", "test", "--wandb.log_checkpoints", "true"]
    words = ["fit", *SMALL, *head, *logged, "--run_dir", str(tmp_path)]
    with monkeypatch.context() as patch:
        stop = Mock(side_effect=SignalStopped(signal.SIGTERM))
        patch.setattr(tltool.cli.fit, "trust_fit", stop)
        statuses = [main(words)]
    statuses.append(main(words))
    sent = [[a for a in run.artifacts if a.type == "model"] for run in offline_runs(tmp_path)]
    assert (statuses, list(map(len, sent))) == ([85, 0], [0, 2])


@pytest.fixture(scope="module")
def resumed(run, fit_offline, images, folder):
    last = folder / "images/0/checkpoints/last.ckpt"
    more = [*PHASES[:-1], "4", *HEAD, "--optimizer.lr", "0.3", "--ckpt_path", last]
    return fit_offline(folder, "--data.root", images, *more)


def test_a_resumed_run_goes_on_with_its_id_and_steps(resumed):
    first, second = resumed
    assert second.id == first.id
    steps = [row["_step"] for run in resumed for row in run.history]
    assert steps == list(range(len(steps)))
    assert min(column(second, "trainer/global_step")) == 9


def test_a_resumed_run_keeps_its_baselines_and_tells_no_alarm_again(resumed):
    first, second = resumed
    names = ["best/accuracy", "best/epoch", "val/accuracy_of_probe", "gain_over_probe_se"]
    assert all(second.summary[name] == first.summary[name] for name in names)
    assert not {a.title for a in first.alerts} & {a.title for a in second.alerts}


def test_the_terminal_says_first_what_is_sent(fit_offline, images, tmp_path, capsys):
    brief = ("--data.root", images, "--trainer.max_epochs", "1", "--wandb.log_images", "true")
    fit_offline(tmp_path, *brief)
    line = next(line for line in capsys.readouterr().out.splitlines() if line)
    assert line.startswith(
        "wandb     test: keeps offline metrics, configuration, validation and augmented"
    )
    assert line.endswith("no checkpoints")


def test_a_run_in_a_repository_names_its_commit_and_elsewhere_none(tmp_path):
    assert git_commit(tmp_path) is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    commit = ["commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(["git", "-C", tmp_path, *author, *commit], check=True)
    head = (tmp_path / ".git/refs/heads").glob("*")
    assert git_commit(tmp_path) == next(head).read_text().strip()


def test_another_split_has_another_fingerprint():
    first = Splits(Samples(["/a/x.jpg", "/a/y.jpg"], [0, 1]), Samples(["/a/z.jpg"], [0]))
    second = Splits(Samples(["/a/x.jpg", "/a/z.jpg"], [0, 0]), Samples(["/a/y.jpg"], [1]))
    assert split_fingerprint(first, ["u", "v"]) != split_fingerprint(second, ["u", "v"])


def test_a_split_of_names_that_are_no_text_has_a_fingerprint():
    names = (os.fsdecode(b"K\xe4fer.jpg"), os.fsdecode(b"K\xe5fer.jpg"))
    first, second = (Splits(Samples([name, "b.jpg"], [0, 1])) for name in names)
    assert split_fingerprint(first, ["u", "v"]) != split_fingerprint(second, ["u", "v"])


def test_an_id_from_outside_wins(tmp_path, monkeypatch):
    keep_identity(tmp_path, RunIdentity("kept", step=5))
    assert find_identity(tmp_path) == RunIdentity("kept", 5)
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert find_identity(tmp_path) == RunIdentity("given", 0)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"step": 5}'])
def test_a_damaged_identity_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / "wandb_run.json").write_text(content)
    with pytest.raises(ValueError, match=r"wandb_run\.json is damaged .*Delete it"):
        find_identity(tmp_path)


def test_an_identity_of_a_newer_version_is_read(tmp_path):
    (tmp_path / "wandb_run.json").write_text('{"id": "kept", "step": 5, "new": 1}')
    assert find_identity(tmp_path) == RunIdentity("kept", 5)


def test_the_readme_says_what_each_name_means(run):
    names = {key for row in (*run.history, run.summary) for key in row if key[0] != "_"}
    table = README.read_text().partition("## What each name means")[2]
    sections = {"train", "val", "best", "last", "lr", "ending", "trust", "epoch", "trainer"}
    own = {name for name in names if name.partition("/")[0] not in sections}
    assert len(own) > 8
    assert {name for name in own if f"`{name}`" not in table} == set()


def test_every_metric_has_a_chart_in_a_section_but_the_axes(run):
    keys = {key for row in run.history for key in row if not key.startswith("_")}
    hidden = {name for name, chart in run.charts.items() if chart.options.hidden}
    assert hidden == {"epoch", "trainer/global_step"}
    sections = {key.partition("/")[0] for key in keys - hidden}
    assert sections == {"train", "val", "step", "lr", "health", "best", "last", "phase"}


def test_without_the_command_line_a_callback_and_a_logger_are_enough(
    images, tmp_path, offline_runs
):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    data = ImageFolderDataModule(
        images, batch_size=8, num_workers=0, data_config=backbone.data_config
    )
    task = ImageTask(backbone, num_classes=2, class_names=data.class_names)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=wandb_logger(tmp_path, project="test", offline=True),
        callbacks=[WandbTracking()],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(task, data)
    finish(trainer)
    (run,) = offline_runs(tmp_path)
    assert (run.config["backbone"], run.config["finetuning"]) == ("test_resnet", None)
    assert {"gain_over_majority", "best/accuracy"} <= run.summary.keys()


def test_no_more_than_40_charts_are_shown():
    budget = ChartBudget()
    sections = ("val", "train", "lr", "health", "mine", "yours")
    names = [f"{section}/{number}" for section in sections for number in range(30)]
    shown = [chart for chart in budget.charts(names) if not chart.hidden]
    media = 11  # See the tests of what stands there at the end.
    assert len(shown) + media <= MOST_CHARTS == 40


def test_learning_rates_of_many_layers_are_shown_from_the_first_to_the_last():
    charts = ChartBudget().charts([f"lr/layer{number}" for number in range(50)])
    shown = [chart.name for chart in charts if not chart.hidden]
    assert (shown[0], shown[-1], len(shown)) == ("lr/layer0", "lr/layer49", 8)


def test_the_kept_count_is_never_behind_what_a_kill_leaves(tmp_path):
    logger = wandb_logger(tmp_path, project="test", offline=True)
    for step in range(3):
        logger.log_metrics({"loss": 1.0}, step)
    assert find_identity(tmp_path).step >= logger.experiment.step == 3
    finish(SimpleNamespace(loggers=[logger]))


@pytest.mark.parametrize(("number", "has_chart"), [(100, True), (101, False)])
def test_a_confusion_matrix_of_more_rows_than_wandb_reads_is_no_chart(number, has_chart):
    logged = {}
    run = SimpleNamespace(offline=False, log=logged.update)
    predictions = PredictionSet.from_probabilities(torch.eye(number), torch.arange(number))
    log_predictions(run, "best", predictions, [str(label) for label in range(number)])
    assert ("best/confusion_chart" in logged, "best/confusion" in logged) == (has_chart, True)
