"""A run of 32 steps, read back from its offline file: all that a reviewer asks for is there."""

from importlib.metadata import version
from types import SimpleNamespace

import pytest

from tltool.reporting.wandb.kept_epoch import is_kept
from tltool.training.callbacks.checkpoints import BestCheckpoint

STEPS, PROBE_STEPS = 32, 16
GROUPS = ("backbone.stem", *(f"backbone.layer{number}" for number in range(1, 5)), "head")

FACTS = {
    "max_epochs": 8,
    "img_size": [32, 32],
    "augmentation": "flip",
    "global_batch": 5,
    "num_classes": 2,
    "num_train": 20,
    "num_val": 4,
    "lr": 1e-3,
    "seed": 0,
}
VERSIONS = ("tltool_version", "torch_version", "timm_version", "lightning_version")


@pytest.fixture(scope="module")
def run(fit_offline, images, tmp_path_factory):
    """LPFT in 8 epochs of 4 steps."""
    options = ("--data.batch_size", "5", "--data.augmentation", "flip", "--health.enabled", "false")
    phases = ("--finetuning", "LPFT", "--finetuning.probe_epochs", "4", "--trainer.max_epochs", "8")
    folder = tmp_path_factory.mktemp("short")
    return fit_offline(folder, "--data.root", images, *phases, *options)[0]


def by_step(run, name):
    """Return the values of a metric by optimizer step; each has one."""
    found = [(row["trainer/global_step"], row[name]) for row in run.history if name in row]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.slow
def test_a_short_run_holds_all_that_a_reviewer_asks_for(run):
    for name in ("step/loss", "step/gradient_norm", "step/images_per_second"):
        assert list(by_step(run, name)) == list(range(STEPS))
    for group in GROUPS:
        lrs = list(by_step(run, f"lr/{group}").values())
        trains = [max(lrs[:PROBE_STEPS]) > 0, max(lrs[PROBE_STEPS:]) > 0]
        assert (len(lrs), trains) == (STEPS, [group == "head", True])
    assert by_step(run, "phase") == {0: 0, PROBE_STEPS: 1}
    assert (run.config["phases"], run.summary["phase_name"]) == (["probe", "full"], "full")
    facts = {name: version(name.removesuffix("_version")) for name in VERSIONS} | FACTS
    assert {name: run.config.get(name) for name in facts} == facts
    assert (run.group, run.job_type) == ("images", "fit")
    assert 0 <= run.summary["val/accuracy"] <= 1
    assert {row["epoch"] for row in run.history if "epoch" in row} == set(range(1, 9))


def test_the_best_epoch_is_the_last_one_where_the_run_asked_for_it(fit_offline, images, tmp_path):
    last = ("--ending.choose", "last", "--finetuning", "LinearProbe", "--optimizer.lr", "3")
    (run,) = fit_offline(tmp_path, "--data.root", images, *last, "--trainer.max_epochs", "3")
    assert run.summary["best/epoch"] == 3


@pytest.mark.parametrize(("monitor", "kept"), [("val/loss", False), ("val/accuracy", True)])
def test_the_best_epoch_is_that_of_the_metric_that_chooses_the_checkpoint(tmp_path, monitor, kept):
    trainer = SimpleNamespace(callbacks=[BestCheckpoint(tmp_path, monitor)])
    found = {"best/accuracy": 0.9, "best/loss": 0.7}
    best = {"best/accuracy": 0.8, "best/loss": 0.5}
    assert is_kept(trainer, found, best) is kept
