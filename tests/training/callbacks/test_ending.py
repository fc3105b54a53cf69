"""The end of a run: what competes, which weights best.ckpt holds, and what a resume makes of it."""

import math
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.strategies import ModelParallelStrategy

from tltool.cli.fit_end import print_best
from tltool.models.weight_averaging import interpolate_weights
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.ending_contest import Contest
from tltool.training.callbacks.ending_files import last_epoch
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

JOB = Path(__file__).parents[1] / "ending_job.py"
job = runpy.run_path(str(JOB))
LAST_EPOCH = last_epoch(ends_on_validation=False)
train, rows, Seen = job["train"], job["rows"], job["Seen"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* is not empty",
    "ignore:.*callbacks used to create the checkpoint need to be provided",
)


@pytest.fixture(scope="module")
def hard_images(tmp_path_factory):
    return job["write_hard_images"](tmp_path_factory.mktemp("hard") / "images")


class Run:
    """A run, what its validations measured, and its files."""

    def __init__(self, images, folder, ending, **options):
        self.images, self.folder, self.ending, self.seen = images, folder, ending, Seen()
        self.trainer = train(images, folder, ending, self.seen, **options)
        self.rows = rows(folder) if (folder / "ending.csv").is_file() else []

    def checkpoint(self, name):
        return torch.load(self.folder / "checkpoints" / name, weights_only=True)

    def row(self, name, share, statistics="own"):
        place = (name, str(share), statistics)
        found = [r for r in self.rows if (r["candidate"], r["share"], r["statistics"]) == place]
        return {key: float(found[0][key]) for key in ("loss", "accuracy")}

    @property
    def chosen(self):
        return next(row for row in self.rows if row["chosen"] == "yes")


@pytest.fixture(scope="module")
def wise(hard_images, tmp_path_factory):
    ending = Ending(average="wise_ft", points=[0, 0.5, 1])
    return Run(hard_images, tmp_path_factory.mktemp("wise") / "run", ending)


@pytest.fixture(scope="module")
def soup(hard_images, tmp_path_factory):
    return Run(hard_images, tmp_path_factory.mktemp("soup") / "run", Ending(average="soup"))


def metrics(found):
    return {key.removeprefix("val/"): found[key] for key in ("val/loss", "val/accuracy")}


def measured(task, data):
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    (values,) = trainer.validate(task, datamodule=data, verbose=False)
    return metrics(values)


def measured_alone(run, name):
    """Return what a checkpoint measures in a Trainer of its own."""
    task = ImageTask.load_from_checkpoint(run.folder / "checkpoints" / name)
    return measured(task, run.trainer.datamodule)


def test_the_start_is_measured_as_before_the_first_step(wise):
    assert wise.row("start", 0.0) == pytest.approx(metrics(wise.seen.metrics[0]), rel=1e-6)


def test_best_and_last_epoch_are_measured_as_in_training(wise):
    best = max(wise.seen.metrics[1:], key=lambda found: found["val/accuracy"])
    assert wise.row("best epoch", 1.0) == pytest.approx(metrics(best), rel=1e-6)
    last = wise.seen.metrics[-1]
    assert wise.row("last epoch", 1.0) == pytest.approx(metrics(last), rel=1e-6)


def test_the_chosen_is_the_most_accurate_and_among_equals_that_of_least_loss(wise):
    best = max(wise.rows, key=lambda row: (float(row["accuracy"]), -float(row["loss"])))
    assert best["chosen"] == "yes"


def test_best_ckpt_alone_measures_what_the_table_says(wise):
    assert wise.chosen["candidate"] != "best epoch" or wise.chosen["share"] != "1.0"
    expected = {key: float(wise.chosen[key]) for key in ("loss", "accuracy")}
    assert measured_alone(wise, "best.ckpt") == pytest.approx(expected, rel=1e-4)


def test_the_score_is_that_of_the_chosen_weights_also_in_the_checkpoint(wise):
    expected = float(wise.chosen["accuracy"])
    checkpoint = wise.trainer.checkpoint_callback
    (state,) = [
        s for key, s in wise.checkpoint("best.ckpt")["callbacks"].items() if "BestCheckpoint" in key
    ]
    assert float(checkpoint.best_model_score) == float(state["best_model_score"]) == expected


def test_the_best_epoch_is_kept(wise):
    kept = wise.checkpoint("best_epoch.ckpt")
    best = max(wise.seen.metrics[1:], key=lambda found: found["val/accuracy"])
    assert measured_alone(wise, "best_epoch.ckpt") == pytest.approx(metrics(best))
    assert kept.keys() == wise.checkpoint("best.ckpt").keys() - {"ending"}


def test_the_task_is_left_as_training_left_it(wise):
    last = wise.checkpoint("last.ckpt")["state_dict"]
    assert all(torch.equal(last[k], v) for k, v in wise.trainer.model.state_dict().items())


def test_a_point_on_the_line_is_measured_with_averaged_statistics(wise):
    end = wise.checkpoint("best_epoch.ckpt")["state_dict"]
    start = {**end, **wise.checkpoint("start.pt")["start_weights"]}
    task = ImageTask.load_from_checkpoint(wise.folder / "checkpoints" / "best_epoch.ckpt")
    task.load_state_dict(interpolate_weights(start, end, 0.5))
    expected = measured(task, wise.trainer.datamodule)
    assert wise.row("best epoch", 0.5, "averaged") == pytest.approx(expected, rel=1e-4)


def test_it_is_measured_with_statistics_of_training_images_too(wise):
    end = wise.checkpoint("best_epoch.ckpt")["state_dict"]
    start = {**end, **wise.checkpoint("start.pt")["start_weights"]}
    task = ImageTask.load_from_checkpoint(wise.folder / "checkpoints" / "best_epoch.ckpt")
    task.load_state_dict(interpolate_weights(start, end, 0.5))
    loader = wise.trainer.train_dataloader
    loader.batch_sampler.sampler.set_epoch(0)
    loader.batch_sampler.first = 0
    images = [batch["images"] for batch in loader.images]
    torch.optim.swa_utils.update_bn(images, task)  # There is no dropout to differ by.
    expected = measured(task, wise.trainer.datamodule)
    assert wise.row("best epoch", 0.5, "estimated") == pytest.approx(expected, rel=1e-3)


def test_a_soup_is_at_least_as_good_as_each_of_its_ingredients(soup):
    accuracies = {row["candidate"]: float(row["accuracy"]) for row in soup.rows}
    assert len(accuracies) > 3
    assert float(soup.chosen["accuracy"]) == max(accuracies.values())
    assert any(name.startswith("soup of ") for name in accuracies)


def test_nothing_happens_by_default(hard_images, tmp_path):
    run = Run(hard_images, tmp_path, Ending(), max_epochs=1)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert (names, run.rows) == ({"best.ckpt", "last.ckpt"}, [])


def test_the_start_alone_competes_with_the_best_epoch(hard_images, tmp_path):
    run = Run(hard_images, tmp_path, Ending(include_start=True), max_epochs=1)
    assert [row["candidate"] for row in run.rows] == ["best epoch", "start"]


def test_one_standard_error_keeps_the_start(hard_images, tmp_path):
    ending = Ending(average="wise_ft", points=[0, 0.5, 1], choose="one_standard_error")
    assert Run(hard_images, tmp_path, ending).chosen["candidate"] == "start"


@pytest.mark.parametrize("strategy", ["ALL_THEN_HEAD", "ALL_THEN_LAST"])
def test_what_is_cached_behind_changed_layers_is_not_used(hard_images, tmp_path, strategy):
    found = {}
    for caching in (True, False):
        ending = Ending(average="wise_ft", points=[0, 0.5, 1])
        options = {"strategy": job[strategy], "max_epochs": 3, "caching": caching}
        found[caching] = Run(hard_images, tmp_path / str(caching), ending, **options)
    start, other = (found[caching].row("start", 0.0)["loss"] for caching in (True, False))
    assert start == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("limit", [{"limit_train_batches": 1}, {"fast_dev_run": True}])
def test_a_try_has_no_end(hard_images, tmp_path, limit):
    run = Run(hard_images, tmp_path, Ending(average="wise_ft"), max_epochs=1, **limit)
    assert (run.rows, (tmp_path / "checkpoints" / "start.pt").exists()) == ([], False)


def assert_same_end(run, other):
    assert run.rows == other.rows
    weights = [each.checkpoint("best.ckpt")["state_dict"] for each in (run, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("cut", [{"max_epochs": 1}, {"max_epochs": 3, "max_steps": 5}])
def test_a_run_that_ended_before_and_is_resumed_ends_as_a_straight_one(
    hard_images, wise, tmp_path, cut
):
    first = Run(hard_images, tmp_path, Ending(average="wise_ft", points=[0, 0.5, 1]), **cut)
    assert first.rows
    ending = Ending(average="wise_ft", points=[0, 0.5, 1])
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert_same_end(Run(hard_images, tmp_path, ending, ckpt_path=last), wise)


def test_a_run_that_is_over_is_not_ended_twice(hard_images, wise, caplog):
    before = wise.checkpoint("best.ckpt")["state_dict"]
    last = wise.folder / "checkpoints" / "last.ckpt"
    again = Run(hard_images, wise.folder, Ending(average="wise_ft"), ckpt_path=last)
    after = wise.checkpoint("best.ckpt")["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert again.rows == wise.rows
    assert "Ending" not in caplog.text


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_an_interrupted_end_changes_nothing_and_says_how_to_make_up_for_it(
    hard_images, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(Contest, "write", interrupt)  # All has been measured by then.
    with pytest.raises(SystemExit):
        Run(hard_images, tmp_path, Ending(average="wise_ft"), max_epochs=1)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "start.pt"}
    last = tmp_path / "checkpoints" / "last.ckpt"
    options = {"ckpt_path": last, "max_epochs": 1}
    Run(hard_images, tmp_path, Ending(average="wise_ft"), **options)
    assert f"Type: tltool merge {tmp_path} --average wise_ft" in caplog.text
    Run(hard_images, tmp_path, Ending(average="wise_ft", choose="trained"), **options)
    assert f"merge {tmp_path} --average wise_ft --choose trained" in caplog.text
    Run(hard_images, tmp_path, Ending(average="wise_ft", points=(0.5, 1)), **options)
    assert f"merge {tmp_path} --average wise_ft --points 0.5 1" in caplog.text


def test_an_end_that_was_killed_in_front_of_its_table_is_not_advised_again(
    hard_images, tmp_path, caplog, monkeypatch
):
    chosen = Ending(include_start=True, choose="one_standard_error")
    monkeypatch.setattr("tltool.training.callbacks.ending_contest.write_candidates", interrupt)
    with pytest.raises(SystemExit):
        Run(hard_images, tmp_path, chosen, max_epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    again = Ending(include_start=True, choose="one_standard_error")
    run = Run(hard_images, tmp_path, again, max_epochs=1, ckpt_path=last)
    assert run.checkpoint("best.ckpt")["ending"]["candidate"] == "start"
    assert "nothing has competed" not in caplog.text


def test_a_run_killed_in_front_of_its_end_keeps_the_last_epoch_when_it_is_started_again(
    hard_images, tmp_path, monkeypatch
):
    options = {"max_epochs": 3, "check_val_every_n_epoch": 2}  # The best epoch is the second.
    monkeypatch.setattr("tltool.training.callbacks.ending.keep_last", interrupt)
    with pytest.raises(SystemExit):
        Run(hard_images, tmp_path, Ending(choose="last"), **options)
    last = tmp_path / "checkpoints" / "last.ckpt"
    run = Run(hard_images, tmp_path, Ending(choose="last"), ckpt_path=last, **options)
    steps = [run.checkpoint(f"{name}.ckpt")["global_step"] for name in ("best_epoch", "best")]
    assert steps == [6, run.checkpoint("last.ckpt")["global_step"]] == [6, 9]
    assert run.trainer.checkpoint_callback.best_model_score is None
    assert run.checkpoint("best.ckpt")["ending"] == LAST_EPOCH


def test_a_best_epoch_that_is_the_last_one_is_marked_when_a_killed_run_is_started_again(
    hard_images, tmp_path
):
    Run(hard_images, tmp_path, None, max_epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    run = Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=1, ckpt_path=last)
    assert run.checkpoint("best.ckpt")["ending"] == LAST_EPOCH
    assert "ending" not in run.checkpoint("best_epoch.ckpt")


def test_what_an_earlier_end_has_fitted_to_other_weights_is_left_out(hard_images, tmp_path):
    ending = {"include_start": True, "choose": "one_standard_error"}
    first = Run(hard_images, tmp_path, Ending(**ending), max_epochs=1)
    epoch, last = (first.checkpoint(f"{name}.ckpt") for name in ("best_epoch", "last"))
    epoch["task_config"]["thresholds"] = [0.2, 0.8]
    epoch |= {"calibration": {"temperature": 9.0}, "trust": {"threshold": 1.0}}
    state = last["callbacks"]["BestCheckpoint"]
    unbeaten = torch.tensor(2.0)
    state |= {"best_model_score": unbeaten, "kth_value": unbeaten}
    state["best_k_models"] = dict.fromkeys(state["best_k_models"], unbeaten)
    for name, content in (("best_epoch", epoch), ("last", last)):
        torch.save(content, tmp_path / "checkpoints" / f"{name}.ckpt")
    path = tmp_path / "checkpoints" / "last.ckpt"
    run = Run(hard_images, tmp_path, Ending(**ending), max_epochs=2, ckpt_path=path)
    assert run.checkpoint("best_epoch.ckpt")["calibration"] == {"temperature": 9.0}
    best = run.checkpoint("best.ckpt")
    assert (best["ending"]["candidate"], best["task_config"]["thresholds"]) == ("start", None)
    assert best.keys().isdisjoint({"calibration", "trust"})


@pytest.mark.parametrize("options", [{"max_epochs": 1}, {"max_epochs": 3, "max_steps": 7}])
def test_chosen_weights_that_stay_where_the_last_epoch_is_asked_for_are_told(
    hard_images, tmp_path, caplog, options
):
    ending = Ending(include_start=True, choose="one_standard_error")
    before = Run(hard_images, tmp_path, ending, **options).checkpoint("best_epoch.ckpt")
    last = tmp_path / "checkpoints" / "last.ckpt"
    run = Run(hard_images, tmp_path, Ending(choose="last"), ckpt_path=last, **options)
    assert run.checkpoint("best.ckpt")["ending"]["candidate"] == "start"
    assert run.checkpoint("best_epoch.ckpt")["global_step"] == before["global_step"]
    assert "best.ckpt holds start, chosen before, which stays" in caplog.text


def test_the_last_epoch_is_marked_in_best_ckpt_and_resumed_without_a_warning(
    hard_images, tmp_path, caplog
):
    first = Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=1)
    marks = [first.checkpoint(f"{name}.ckpt").get("ending") for name in ("best", "last")]
    assert marks == [LAST_EPOCH, None]
    best = tmp_path / "checkpoints" / "best.ckpt"
    Run(hard_images, tmp_path, Ending(), max_epochs=2, ckpt_path=best)
    assert "training goes on from there" not in caplog.text


def test_a_best_epoch_that_a_kill_has_left_newer_than_the_last_one_stays(hard_images, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=1)
    shutil.copy(checkpoints / "last.ckpt", tmp_path / "older.ckpt")
    last = checkpoints / "last.ckpt"
    Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=2, ckpt_path=last)
    shutil.move(tmp_path / "older.ckpt", last)  # As if it had been killed in front of the last.
    best = checkpoints / "best.ckpt"
    run = Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=2, ckpt_path=best)
    assert [run.checkpoint(f"{name}.ckpt")["global_step"] for name in ("best", "last")] == [6, 3]


def test_a_last_epoch_without_a_validation_has_no_score_of_another(hard_images, tmp_path, capsys):
    options = {"max_epochs": 3, "check_val_every_n_epoch": 2}
    run = Run(hard_images, tmp_path, Ending(choose="last"), **options)
    best, last = (run.checkpoint(f"{name}.ckpt") for name in ("best", "last"))
    assert best["global_step"] == last["global_step"] == 9
    assert best["callbacks"]["BestCheckpoint"]["best_model_score"] is None
    print_best(tmp_path, run.trainer)
    assert "best.ckpt: the last epoch, whose val/accuracy is not known" in capsys.readouterr().out


def test_a_run_that_is_over_says_the_score_of_its_last_epoch(hard_images, tmp_path):
    first = Run(hard_images, tmp_path, Ending(choose="last"))
    last, content = tmp_path / "checkpoints" / "last.ckpt", first.checkpoint("last.ckpt")
    content["callbacks"]["BestCheckpoint"]["best_model_score"] = torch.tensor(0.9)  # Of another.
    torch.save(content, last)
    again = Run(hard_images, tmp_path, Ending(choose="last"), ckpt_path=last)
    scores = [float(run.trainer.checkpoint_callback.best_model_score) for run in (first, again)]
    assert scores == [float(first.seen.metrics[-1]["val/accuracy"])] * 2


def test_a_run_that_is_over_says_the_score_of_the_weights_that_were_chosen(
    hard_images, tmp_path, capsys
):
    ending = {"include_start": True, "choose": "one_standard_error"}
    first = Run(hard_images, tmp_path, Ending(**ending), max_epochs=1)
    last, content = tmp_path / "checkpoints" / "last.ckpt", first.checkpoint("last.ckpt")
    content["callbacks"]["BestCheckpoint"]["best_model_score"] = torch.tensor(0.9)  # Of an epoch.
    torch.save(content, last)
    again = Run(hard_images, tmp_path, Ending(**ending), max_epochs=1, ckpt_path=last)
    print_best(tmp_path, again.trainer)
    assert first.chosen["candidate"] == "start"
    said = f"best val/accuracy {float(first.chosen['accuracy']):.4f}: "
    assert said in capsys.readouterr().out


def test_a_merge_in_the_place_of_the_last_epoch_stays_when_the_run_is_started_again(
    hard_images, tmp_path, capsys
):
    first = Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=1)
    best = first.checkpoint("best.ckpt")
    merge = {key: best[key] for key in ("state_dict", "task_config", "global_step")}
    merge["ending"] = {"candidate": "average of 2", "val/accuracy": 0.9}
    torch.save(merge, tmp_path / "checkpoints" / "best.ckpt")
    last = tmp_path / "checkpoints" / "last.ckpt"
    again = Run(hard_images, tmp_path, Ending(choose="last"), max_epochs=1, ckpt_path=last)
    assert again.checkpoint("best.ckpt").keys() == merge.keys()
    assert again.trainer.checkpoint_callback.best_model_score is None


@pytest.mark.parametrize("harm", ["missing", "damaged", "of another run"])
def test_a_start_that_is_gone_is_said_and_nothing_wrong_is_chosen(
    hard_images, tmp_path, caplog, harm
):
    train(hard_images, tmp_path, Ending(average="wise_ft"), max_epochs=1)
    start = tmp_path / "checkpoints" / "start.pt"
    content = torch.load(start, weights_only=True)
    content["start_weights"]["head.output.bias"] += 1
    harms = {"missing": start.unlink, "damaged": lambda: start.write_bytes(b"x" * 100)}
    harms.get(harm, lambda: torch.save(content, start))()
    last = tmp_path / "checkpoints" / "last.ckpt"
    run = Run(hard_images, tmp_path, Ending(average="wise_ft"), ckpt_path=last, max_epochs=2)
    assert "start.pt is not there, is damaged, or is not of this run" in caplog.text
    assert run.rows == []
    assert "ending" not in run.checkpoint("best.ckpt")


def test_going_on_from_averaged_weights_warns(hard_images, wise, tmp_path, caplog):
    best = wise.folder / "checkpoints" / "best.ckpt"
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        train(hard_images, tmp_path, Ending(), ckpt_path=best)
    assert caplog.text.count("training goes on from there. Resume from last.ckpt") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average": "ema"}, r"Unknown average 'ema'.*Choose one of"),
        ({"choose": "worst"}, r"Unknown choice 'worst'"),
        ({"points": [0, 25]}, r"shares of the end, in \[0, 1\], got \[0, 25\]"),
        ({"keep": 0}, r"`keep` must be at least 1, got 0"),
        ({"choose": "trained"}, r"start, which does not compete. Set `ending.include_start`"),
        ({"choose": "one_standard_error", "average": "soup"}, r"the start, which does not compete"),
        ({"choose": "trained", "average": "wise_ft", "points": [0.5]}, r"0 among `ending.points`"),
        ({"points": [0, 1]}, r"of `ending.average: wise_ft`, but the average is none"),
        ({"keep": 3, "average": "wise_ft"}, r"of `ending.average: soup`.* is wise_ft. Leave out"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Ending(**options)


def test_sharded_weights_are_refused():
    trainer = SimpleNamespace(strategy=ModelParallelStrategy())
    with pytest.raises(ValueError, match=r"ModelParallelStrategy, which shards.* to ddp"):
        Ending(include_start=True).setup(trainer, None, "fit")


def test_without_best_ckpt_it_is_refused(hard_images):
    data = job["ImageFolderDataModule"](hard_images, num_workers=0)
    backbone = job["Backbone"]("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=2)
    callbacks = [Finetuning(job["ALL"]), Ending(include_start=True)]
    trainer = Trainer(accelerator="cpu", logger=False, callbacks=callbacks, max_epochs=1)
    with pytest.raises(ValueError, match=r"Put BestCheckpoint\(directory\) among the callbacks"):
        trainer.fit(task, data)


@pytest.mark.slow
def test_two_ranks_choose_alike_and_count_each_image_once(hard_images, tmp_path, run_two_ranks):
    run_two_ranks(JOB, tmp_path, hard_images)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1))
    assert first["summary"] == second["summary"] != {}
    assert first["score"] == second["score"]
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["ending"]["candidate"] == first["summary"]["ending/candidate"]
    accuracies = [float(row["accuracy"]) * 18 for row in rows(tmp_path / "run")]
    assert all(math.isclose(each, round(each), abs_tol=1e-4) for each in accuracies)


def go_on(trainer, max_epochs):
    """Train a task for longer with the Trainer that has trained it."""
    trainer.fit_loop.max_epochs = max_epochs
    trainer.fit(trainer.lightning_module, trainer.datamodule)


def test_a_trainer_that_goes_on_behind_its_end_ends_again(hard_images, tmp_path, caplog):
    run = Run(hard_images, tmp_path, Ending(average="wise_ft", points=[0, 0.5, 1]), max_epochs=1)
    score = float(
        run.checkpoint("best_epoch.ckpt")["callbacks"]["BestCheckpoint"]["best_model_score"]
    )
    best = run.trainer.checkpoint_callback
    assert float(best.best_model_score) > score
    seen = []
    run.trainer.callbacks.append(
        LambdaCallback(on_train_epoch_start=lambda *_: seen.append(float(best.best_model_score)))
    )
    go_on(run.trainer, 2)
    assert seen == [score]
    assert {row["candidate"] for row in rows(tmp_path)} >= {"start", "last epoch"}
    assert "is not of this run" not in caplog.text
