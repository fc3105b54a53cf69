"""`tltool fit --run_dir`: one command that starts a run, resumes it, and knows when it is over."""

import contextlib
import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.training import run_lock
from tltool.training.distributed.run_status import RunStatus, read_status

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--finetuning", "LinearProbe", "--trainer.max_epochs", "3"),
    *("--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.save_top_k", "-1"),
    *("--trainer.callbacks.monitor", "val/loss", "--trainer.callbacks.filename", "{epoch}"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Images, and a run of three epochs on them that keeps each epoch."""
    folder = tmp_path_factory.mktemp("run")
    images = write_images(folder / "images")
    words = ["--data.root", images, "--run_dir", folder / "mine", *SMALL]
    assert main(["fit", *map(str, words)]) == 0
    return folder


@pytest.fixture
def fit(whole, run_tltool, tmp_path):
    """Return a function that starts a run in ``mine``; copies of the whole run lie there."""
    shutil.copytree(whole / "mine", tmp_path / "mine")

    def run(*words, run_dir="mine"):
        place = () if run_dir is None else ("--run_dir", run_dir)
        return run_tltool("fit", "--data.root", whole / "images", *SMALL, *place, *words)

    return run


@pytest.fixture
def cut(tmp_path):
    """Bring the run back to where its first epoch ended, as a kill in the second leaves it."""
    checkpoints = tmp_path / "mine" / "checkpoints"
    shutil.copy(checkpoints / "epoch=0.ckpt", checkpoints / "last.ckpt")
    for later in (1, 2):
        (checkpoints / f"epoch={later}.ckpt").unlink()
    RunStatus("running", step=3).write(tmp_path / "mine")
    assert saved(checkpoints / "best.ckpt")["epoch"] == 0
    return checkpoints


def saved(path="mine/checkpoints/last.ckpt"):
    return torch.load(path, weights_only=True)


def rows(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def changed(out):
    return [line for line in out.splitlines() if line.startswith(("resume ", "unused "))]


def test_a_directory_that_is_absent_is_created(whole):
    names = {path.name for path in (whole / "mine").iterdir()}
    assert {"config.yaml", "metrics.csv", "checkpoints"} <= names
    assert not (whole / "runs").exists()


def test_a_run_that_was_cut_goes_on_to_the_end_of_a_straight_one(fit, cut, whole):
    status, out, err = fit()
    assert (status, changed(out)) == (0, []), err
    weights, straight = (saved(at / "mine/checkpoints/last.ckpt") for at in (Path(), whole))
    torch.testing.assert_close(weights["state_dict"], straight["state_dict"], rtol=0, atol=0)
    assert rows(Path("mine")) == rows(whole / "mine")
    assert [path.name for path in Path("mine").glob("config*")] == ["config.yaml"]


def test_a_run_that_is_over_is_left_as_it_is_even_without_its_images(fit):
    before = {path: path.stat().st_mtime_ns for path in Path("mine").rglob("*")}
    status, out, err = fit("--data.root", "gone")
    assert status == 0, err
    assert "finished  mine: 3 epochs, 9 steps" in out
    assert {path: path.stat().st_mtime_ns for path in Path("mine").rglob("*")} == before


def test_a_run_without_a_status_does_what_is_left_behind_its_last_epoch(fit):
    Path("mine/status.json").unlink()
    status, out, err = fit()
    assert status == 0, err
    assert "nothing left to train" in out
    assert read_status("mine").state == "finished"


def test_a_run_that_max_steps_has_ended_names_them(fit):
    assert "with more --trainer.max_steps it trains on" in fit("--trainer.max_steps", "3")[1]


def test_more_epochs_train_on(fit):
    status, out, _ = fit("--trainer.max_epochs", 4)
    assert (status, changed(out)) == (0, ["resume    trainer.max_epochs was 3 and is 4"])
    assert saved()["epoch"] == 3


def test_a_changed_lr_is_trained_with_and_the_earlier_configuration_is_kept(fit, cut):
    status, out, _ = fit("--optimizer.lr", "0.5")
    assert (status, changed(out)) == (0, ["resume    optimizer.init_args.lr was 0.001 and is 0.5"])
    assert saved()["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.5
    files = (Path("mine") / name for name in ("config.1.yaml", "config.yaml"))
    assert [yaml.safe_load(f.read_text())["optimizer"]["init_args"]["lr"] for f in files] == [
        *(0.001, 0.5)
    ]


def test_what_a_strategy_brings_along_is_no_change(fit):
    full = ("--finetuning", "FullFinetuning", "--trainer.max_epochs", 1)
    assert fit(*full, run_dir="full")[0] == 0
    status, out, _ = fit(*full, run_dir="full")
    assert (status, changed(out), "finished" in out) == (0, [], True)


def test_a_change_that_comes_too_late_is_said(fit):
    status, out, _ = fit("--optimizer.lr", "0.5")
    assert (status, changed(out)) == (0, ["unused    optimizer.init_args.lr was 0.001 and is 0.5"])


def test_another_model_is_refused_and_nothing_is_written(fit):
    before = {path: path.stat().st_mtime_ns for path in Path("mine").rglob("*")}
    status, _, err = fit("--model.head.hidden_features", "[8]")
    assert status == 1
    assert "last.ckpt cannot be resumed so: model.head" in err
    assert {path: path.stat().st_mtime_ns for path in Path("mine").rglob("*")} == before


def test_the_newest_whole_checkpoint_is_taken_and_what_is_cut_short_is_named(fit, cut):
    last = cut / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    (cut / ".last.ckpt.other-1-0123456789ab.partial").touch()
    status, _, err = fit("--ckpt_path", "auto")
    assert status == 0, err
    assert "last.ckpt is not whole, and is passed over" in err
    assert ".partial is not whole" in err
    assert saved()["global_step"] == 9


def test_a_run_of_damaged_checkpoints_alone_is_not_begun_anew(fit, cut):
    for path in cut.glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:-1000])
    status, _, err = fit()
    assert status == 1
    assert "no whole checkpoint to resume from. Delete what is damaged to start anew" in err


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_in_its_directory(fit, cut):
    shutil.rmtree(cut)
    assert fit("--trainer.max_epochs", 1)[0] == 0
    assert saved()["global_step"] == 3
    assert {row["epoch"] for row in rows(Path("mine"))} == {"0"}


def test_a_run_goes_on_from_its_own_checkpoint_rather_than_from_that_of_another(fit, cut, whole):
    other = whole / "mine" / "checkpoints" / "epoch=1.ckpt"
    status, _, err = fit("--ckpt_path", other)
    assert status == 0
    assert f"mine has begun before: it resumes its own last.ckpt, not {other}" in err


def test_a_named_checkpoint_of_the_run_takes_it_back(fit):
    status, out, _ = fit("--ckpt_path", "mine/checkpoints/epoch=1.ckpt")
    assert status == 0
    assert "finished" not in out
    assert saved()["global_step"] == 9
    assert yaml.safe_load(Path("mine/config.yaml").read_text())["ckpt_path"] is None


def test_a_directory_that_moved_keeps_all_best_scores(fit, cut):
    checkpoints = Path("moved") / "checkpoints"
    for name in ("best.ckpt", "epoch=0.ckpt"):  # The best one, with a score that none reaches.
        checkpoint = saved(cut / "last.ckpt")
        for state in checkpoint["callbacks"].values():
            if state.get("monitor"):
                score = torch.tensor(2.0 if state["monitor"] == "val/accuracy" else -1.0)
                state["best_model_score"] = score
                state["best_k_models"] = dict.fromkeys(state["best_k_models"], score)
        torch.save(checkpoint, cut / name)
        torch.save(checkpoint, cut / "last.ckpt")
    Path("mine").rename("moved")
    status, _, err = fit("--trainer.callbacks.save_top_k", "-1", run_dir="moved")
    assert status == 0, err
    assert "dirpath has changed" not in err
    states = saved(checkpoints / "last.ckpt")["callbacks"].values()
    scores = [float(each["best_model_score"]) for each in states if each.get("monitor")]
    assert sorted(scores) == [-1.0, 2.0]
    assert saved(checkpoints / "best.ckpt")["epoch"] == 0


def test_a_directory_that_moved_goes_on_with_its_own_configuration(fit, run_tltool):
    Path("mine").rename("moved")
    config = yaml.safe_load(Path("moved/config.yaml").read_text())
    Path("moved/config.yaml").write_text(yaml.safe_dump({**config, "name": "flowers"}))
    status, out, err = run_tltool("fit", "--config", "moved/config.yaml", "--run_dir", "moved")
    assert status == 0, err
    assert "finished  moved" in out


def test_a_directory_that_another_process_trains_in_is_refused(fit, cut, monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE", 0)
    with run_lock.locked_run_dir(Path("mine")):
        status, _, err = fit()
    assert status == 1
    assert "Another process trains in 'mine'. Wait until it has ended" in err
    assert fit()[0] == 0


def test_a_run_that_another_process_has_trained_meanwhile_is_not_begun_anew(
    whole, run_tltool, monkeypatch
):
    @contextlib.contextmanager
    def wait_for_other(run_dir):
        shutil.copytree(whole / "mine", run_dir, dirs_exist_ok=True)
        yield

    monkeypatch.setattr("tltool.cli.fit.locked_run_dir", wait_for_other)
    words = ("--data.root", whole / "images", *SMALL, "--run_dir", "mine")
    status, out, err = run_tltool("fit", *words)
    assert status == 0, err
    assert "finished  mine: 3 epochs" in out
    assert "epoch 1/3" not in out


def test_two_places_for_one_run_are_refused(fit):
    status, _, err = fit("--name", "other")
    assert status == 1
    assert "`run_dir: mine` is the place of the run, and `name: other` is another" in err


def test_auto_guesses_no_directory(fit):
    status, _, err = fit("--ckpt_path", "auto", run_dir=None)
    assert status == 1
    assert "Set --run_dir too" in err


def test_a_directory_of_several_runs_is_refused(fit):
    status, _, err = fit(run_dir=".")
    assert status == 1
    assert "'.' holds several: mine. Name one, such as 'mine'" in err


def test_a_comparison_has_no_directory_of_a_run(run_tltool, whole):
    status, _, err = run_tltool("compare", "--data.root", whole / "images", "--run_dir", "mine")
    assert status == 1
    assert "each comparison has a new directory" in err


@pytest.mark.parametrize(
    ("state", "trained"), [("finished", "finished"), ("unfinished", "nothing left to train")]
)
def test_the_status_of_a_run_decides_whether_it_is_over(fit, state, trained):
    Path("mine/status.json").write_text(json.dumps({"state": state}))
    status, out, _ = fit()
    assert status == 0
    assert trained in out


def test_a_run_that_ended_early_is_over(fit, cut):
    Path("mine/status.json").write_text(json.dumps({"state": "finished"}))
    _, out, _ = fit()
    assert "finished  mine: 1 epochs, 3 steps" in out


@pytest.mark.slow
def test_what_auto_and_a_budget_have_chosen_stays(run_tltool, whole):
    words = [*SMALL, "--run_dir", "auto", "--data.root", whole / "images"]
    for option in ("--finetuning", "--trainer.max_epochs"):
        place = words.index(option)
        del words[place : place + 2]
    assert run_tltool("fit", *words, "--budget", "1s")[0] == 0
    before = saved("auto/checkpoints/last.ckpt")["config"]
    _, out, _ = run_tltool("fit", *words, "--budget", "1000s")
    assert (changed(out), out.startswith("finished  auto")) == ([], True)
    assert yaml.safe_load(Path("auto/config.yaml").read_text()) == before


@pytest.mark.slow
def test_a_moved_run_is_the_same_one_on_wandb(fit, run_tltool, whole):
    words = ["--wandb.project", "test", "--wandb.offline", "true"]
    assert fit(*words, "--trainer.max_epochs", 1, run_dir="first")[0] == 0
    identity = json.loads(Path("first/wandb_run.json").read_text())["id"]
    Path("first").rename("second")
    assert fit(*words, run_dir="second")[0] == 0
    parts = list(Path("second/wandb").glob("offline-run-*"))
    assert len(parts) == 2
    assert all(part.name.endswith(identity) for part in parts)
