"""A run that is cut at any place inside an epoch and resumed equals one that is not."""

import runpy
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import LPFT, ChosenGroups, FinetuningStrategy, LinearProbe
from tltool.training.callbacks.early_end import EarlyEnd

job = runpy.run_path(str(Path(__file__).with_name("position_job.py")))
At, fit, last = job["At"], job["fit"], job["last"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* is not empty",
    "ignore:.*callbacks used to create the checkpoint need to be provided",
)

#: Five batches make an epoch.
OPTIONS = {
    "end": {},
    "inside": {"val_check_interval": 2},
    "half": {"val_check_interval": 0.6},
    "second epochs": {"check_val_every_n_epoch": 2},
    "over epochs": {"check_val_every_n_epoch": None, "val_check_interval": 3},
    "accumulate": {"accumulate_grad_batches": 2, "val_check_interval": 3},
    "limit": {"limit_train_batches": 4, "val_check_interval": 2},
    "overfit": {"overfit_batches": 2, "max_epochs": 4},
    "crops": {"val_check_interval": 2, "data": {"augmentation": "crop", "num_workers": 1}},
}
#: A hook, and at which of its calls the checkpoint is written, as (options, hook, number).
PLACES = [
    ("inside", "on_train_start", 1),
    ("inside", "on_train_epoch_start", 2),
    ("inside", "on_train_batch_start", 1),
    ("inside", "on_train_batch_start", 6),
    ("inside", "on_train_batch_start", 8),
    ("inside", "on_train_batch_end", 1),
    ("inside", "on_train_batch_end", 2),
    ("inside", "on_train_batch_end", 5),
    ("inside", "on_train_batch_end", 8),
    ("inside", "on_validation_start", 3),
    ("inside", "on_validation_batch_end", 3),
    ("inside", "on_validation_epoch_end", 3),
    ("inside", "on_validation_end", 1),
    ("inside", "on_validation_end", 4),
    ("inside", "on_train_epoch_end", 2),
    ("inside", "on_train_end", 1),
    ("half", "on_validation_end", 2),
    ("half", "on_train_batch_end", 8),
    ("end", "on_train_batch_end", 10),
    ("end", "on_validation_start", 2),
    ("end", "on_validation_end", 2),
    ("second epochs", "on_train_batch_end", 5),
    ("second epochs", "on_train_batch_end", 10),
    ("second epochs", "on_validation_end", 1),
    ("over epochs", "on_train_batch_end", 6),
    ("over epochs", "on_train_batch_start", 8),
    ("over epochs", "on_validation_end", 2),
    ("accumulate", "on_train_batch_end", 6),
    ("accumulate", "on_train_batch_end", 10),
    ("accumulate", "on_validation_end", 1),
    ("accumulate", "on_validation_end", 2),
    ("limit", "on_validation_end", 3),
    ("limit", "on_train_batch_end", 8),
    ("overfit", "on_train_batch_end", 3),
    ("overfit", "on_train_batch_end", 4),
    ("crops", "on_validation_end", 4),
    ("crops", "on_train_batch_end", 9),
]


#: Of all tables; the rest takes its time.
FAST = {
    ("inside", "on_train_batch_end", 2),
    ("inside", "on_validation_end", 4),
    ("end", "on_validation_end", 2),
    ("accumulate", "on_validation_end", 1),
    ("inside", "max_steps", 8),
    ("inside", "on_train_batch_end", 7),
    ("each batch", "accumulate", 5),
    ("inside", "on_train_batch_start", 8),
}


def marked(places):
    """Return the places of a table, slow ones marked."""
    return [pytest.param(*p, marks=() if p in FAST else pytest.mark.slow) for p in places]


@pytest.fixture(scope="module")
def straight(images, tmp_path_factory):
    """Return the training without a cut of some options, done once."""
    done, folder = {}, tmp_path_factory.mktemp("straight")

    def run(name):
        if name not in done:
            done[name] = fit(images, folder / name, **OPTIONS[name])
        return done[name]

    return run


def assert_equal(resumed, straight):
    """Compare the images of the steps that were left, the weights, and the rows of metrics.csv."""
    assert resumed.batches == straight.batches[len(straight.batches) - len(resumed.batches) :]
    assert resumed.rows == straight.rows
    assert differing(resumed.weights, straight.weights) == []
    assert differing(resumed.optimizer, straight.optimizer) == []


def differing(a, b):
    """Return the keys whose tensors differ, or of two tensors, whether they do."""
    if not isinstance(a, dict):
        return not torch.equal(a, b)
    return sorted(
        {str(k) for k in a.keys() | b if k not in a or k not in b or differing(a[k], b[k])}
    )


@pytest.mark.parametrize(("options", "hook", "number"), marked(PLACES))
def test_a_run_saved_at_any_hook_and_resumed_equals_a_straight_one(
    straight, images, tmp_path, options, hook, number
):
    path = tmp_path / "place.ckpt"
    saves = At(hook, number, lambda trainer: trainer.save_checkpoint(path))
    fit(images, tmp_path, saves, **OPTIONS[options])
    resumed = fit(images, tmp_path, ckpt_path=path, **OPTIONS[options])
    assert_equal(resumed, straight(options))


#: What ends a run: an option of the Trainer, or a hook and which of its calls stops training.
ENDS = [
    ("inside", "max_steps", 8),
    ("inside", "max_steps", 14),
    ("inside", "max_steps", 10),
    ("end", "max_steps", 9),
    ("end", "max_steps", 12),
    ("second epochs", "max_steps", 8),
    ("accumulate", "max_steps", 7),
    ("limit", "max_steps", 7),
    ("crops", "max_steps", 8),
    ("inside", "max_epochs", 2),
    ("inside", "on_train_batch_end", 6),
    ("inside", "on_train_batch_end", 7),
    ("inside", "on_train_batch_end", 10),
    ("inside", "on_validation_end", 3),
    ("end", "on_train_batch_end", 7),
    ("end", "on_train_batch_end", 10),
    ("end", "on_train_epoch_end", 1),
    ("accumulate", "on_train_batch_end", 6),
    ("accumulate", "on_train_batch_end", 7),
    ("over epochs", "on_train_batch_end", 8),
    ("crops", "on_train_batch_end", 8),
]


@pytest.mark.parametrize(("options", "end", "number"), marked(ENDS))
def test_a_run_that_ended_anywhere_and_resumed_equals_a_straight_one(
    straight, images, tmp_path, options, end, number
):
    given = {end: number} if end.startswith("max") else {}
    stops = At(end, 0 if given else number, job["stop"])
    fit(images, tmp_path, stops, **OPTIONS[options] | given)
    resumed = fit(images, tmp_path, ckpt_path=last(tmp_path), **OPTIONS[options])
    assert_equal(resumed, straight(options))


#: Own checkpoint callbacks of a user.
CHECKPOINTS = {
    "each step": {"every_n_train_steps": 1},
    "each batch": {"train_time_interval": timedelta(0)},
    "each validation": {"every_n_epochs": 1, "save_on_train_epoch_end": False},
    "each epoch": {"every_n_epochs": 1, "save_on_train_epoch_end": True},
}


@pytest.fixture(scope="module")
def kept(images, tmp_path_factory):
    """Return the checkpoints that each callback of a user has written in a run, done once."""
    done = {}

    def run(name, options):
        if name not in done:
            done[name] = tmp_path_factory.mktemp("kept")
            keeps = ModelCheckpoint(done[name] / "own", save_top_k=-1, **CHECKPOINTS[name])
            fit(images, done[name], keeps, **OPTIONS[options])
        paths = (done[name] / "own").iterdir()
        return done[name], sorted(paths, key=lambda path: path.stat().st_mtime)

    return run


@pytest.mark.parametrize(
    ("name", "options", "number"),
    marked(
        [
            ("each step", "accumulate", 4),
            ("each step", "accumulate", 5),
            ("each step", "accumulate", 7),
            ("each batch", "accumulate", 5),
            ("each batch", "accumulate", 7),
            ("each batch", "accumulate", 8),
            ("each validation", "inside", 2),
            ("each validation", "inside", 3),
            ("each epoch", "inside", 1),
        ]
    ),
)
def test_a_run_resumed_from_a_users_own_checkpoint_equals_a_straight_one(
    straight, kept, images, name, options, number
):
    run_dir, paths = kept(name, options)
    resumed = fit(images, run_dir, ckpt_path=paths[number], **OPTIONS[options])
    assert_equal(resumed, straight(options))


@pytest.mark.parametrize(
    ("options", "hook", "number"),
    marked(
        [
            ("inside", "on_train_batch_start", 8),
            ("inside", "on_train_batch_end", 9),
            ("inside", "on_validation_batch_end", 4),
            ("accumulate", "on_train_batch_end", 6),
        ]
    ),
)
def test_a_run_saved_at_an_interruption_and_resumed_equals_a_straight_one(
    straight, images, tmp_path, options, hook, number
):
    keeps = ModelCheckpoint(tmp_path / "own", save_on_exception=True, save_top_k=0)
    cut = At(hook, number, job["cut"])
    assert fit(images, tmp_path, cut, keeps, **OPTIONS[options]).was_cut
    (path,) = (tmp_path / "own").iterdir()
    assert_equal(fit(images, tmp_path, ckpt_path=path, **OPTIONS[options]), straight(options))


def test_a_checkpoint_written_inside_a_step_says_so(images, tmp_path, caplog):
    keeps = ModelCheckpoint(tmp_path, save_on_exception=True, save_top_k=0)
    fit(images, tmp_path, At("on_before_optimizer_step", 2, job["cut"]), keeps)
    assert "written inside a training step" in caplog.text


@pytest.mark.slow
def test_a_run_that_is_cut_often_equals_a_straight_one(straight, images, tmp_path):
    fit(images, tmp_path, **OPTIONS["inside"] | {"max_steps": 8})
    stop = partial(At, "on_train_batch_end")
    for number in (1, 2):
        ends = stop(number, job["stop"])
        fit(images, tmp_path, ends, ckpt_path=last(tmp_path), **OPTIONS["inside"])
    resumed = fit(images, tmp_path, ckpt_path=last(tmp_path), **OPTIONS["inside"])
    assert len(resumed.batches) == 4
    assert_equal(resumed, straight("inside"))


class UntilLoss(FinetuningStrategy):
    def schedule(self, group_names, max_epochs):
        probe = Phase("probe", ("head",), until=Until("val/loss", max_epochs=2, patience=2))
        return Schedule((probe, Phase("all", ("*",), start_from_best=True)))


@pytest.mark.parametrize("number", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 8))])
def test_the_validation_at_an_early_end_does_not_count_for_a_phase(images, tmp_path, number):
    options = {"strategy": UntilLoss(), "val_check_interval": 2}
    straight = fit(images, tmp_path / "straight", **options)
    stops = At("on_train_batch_end", number, job["stop"])
    fit(images, tmp_path / "cut", stops, **options)
    path = last(tmp_path / "cut")
    assert_equal(fit(images, tmp_path / "cut", ckpt_path=path, **options), straight)


def test_an_early_stopping_that_is_resumed_stops_where_a_straight_one_does(images, tmp_path):
    def patient():
        return EarlyStopping("val/loss", patience=3, min_delta=1.0)

    straight = fit(images, tmp_path / "straight", patient(), **OPTIONS["inside"])
    stops = At("on_train_batch_end", 3, job["stop"])
    fit(images, tmp_path / "cut", patient(), stops, **OPTIONS["inside"])
    path = last(tmp_path / "cut")
    resumed = fit(images, tmp_path / "cut", patient(), ckpt_path=path, **OPTIONS["inside"])
    assert (len(straight.batches), len(resumed.batches)) == (9, 6)
    assert_equal(resumed, straight)


def test_a_patience_that_is_given_to_a_resumed_run_counts(images, tmp_path):
    def fit_with(patience, **options):
        stopping = EarlyStopping("val/loss", patience=patience, min_delta=100.0)
        options |= {"strategy": LinearProbe(), "max_epochs": 5}
        return fit(images, tmp_path, stopping, EarlyEnd(), **options)

    first = fit_with(1)
    resumed = fit_with(3, ckpt_path=last(tmp_path))
    assert [len(run.batches) // 5 for run in (first, resumed)] == [2, 2]  # Epochs of five batches.


def test_a_run_whose_patience_was_used_up_has_nothing_left_to_train(images, tmp_path):
    def fit_again(**options):
        stopping = EarlyStopping("val/loss", patience=1, min_delta=100.0)
        ends = EarlyEnd()
        run = fit(images, tmp_path, stopping, ends, strategy=LinearProbe(), **options)
        return len(run.batches), ends.has_trained

    assert fit_again(max_epochs=5) == (10, True)
    assert fit_again(max_epochs=6, ckpt_path=last(tmp_path)) == (0, False)


@pytest.mark.parametrize(("patience", "left"), [(1, 0), (3, 10)])
def test_a_run_whose_last_phase_a_metric_has_ended_trains_on_for_another_end_alone(
    images, tmp_path, patience, left
):
    def strategy(patience):
        until = Until("val/loss", max_epochs=5, patience=patience, min_delta=100.0)
        return ChosenGroups((Phase("probe", ("head",), until=until),))

    first = fit(images, tmp_path, strategy=strategy(1), max_epochs=5)
    again = {"strategy": strategy(patience), "max_epochs": 5, "ckpt_path": last(tmp_path)}
    resumed = fit(images, tmp_path, **again)
    assert (len(first.batches), len(resumed.batches)) == (10, left)


def test_a_longer_probe_that_a_training_goes_back_to_warns(images, tmp_path, caplog):
    fit(images, tmp_path, strategy=LPFT(), max_epochs=2)
    assert "goes back" not in caplog.text
    stops = At("on_train_batch_end", 1, job["stop"])
    fit(images, tmp_path, stops, strategy=LPFT(3), max_epochs=9, ckpt_path=last(tmp_path))
    assert "The run had come to phase 'full', and goes back to 'probe'" in caplog.text
    assert "set those of the strategy, such as `probe_epochs` of LPFT" in caplog.text


def test_a_checkpoint_of_before_these_notes_is_resumed_exactly(straight, images, tmp_path):
    fit(images, tmp_path, **OPTIONS["inside"] | {"max_steps": 8})
    checkpoint = torch.load(last(tmp_path), weights_only=True)
    del checkpoint["epoch_position"], checkpoint["last_row"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    resumed = fit(images, tmp_path, ckpt_path=tmp_path / "old.ckpt", **OPTIONS["inside"])
    assert len(resumed.batches) == 7
    assert differing(resumed.weights, straight("inside").weights) == []


def test_a_time_limit_ends_an_epoch_that_a_resumed_run_goes_on_with(straight, images, tmp_path):
    class OneStep(Timer):
        def time_elapsed(self, stage="train"):
            return float(len(order.batches) >= 8)

    order = job["Order"]()
    fit(images, tmp_path, order, OneStep(timedelta(seconds=1)), **OPTIONS["end"])
    resumed = fit(images, tmp_path, ckpt_path=last(tmp_path), **OPTIONS["end"])
    assert len(resumed.batches) == 7
    assert_equal(resumed, straight("end"))


def test_an_lpft_run_cut_around_its_second_phase_equals_a_straight_one(images, tmp_path):
    options = {"strategy": LPFT(probe_epochs=1), "val_check_interval": 2}
    straight = fit(images, tmp_path / "straight", **options)
    path = tmp_path / "place.ckpt"
    saves = At("on_train_batch_end", 5, lambda trainer: trainer.save_checkpoint(path))
    stops = At("on_train_batch_end", 6, job["stop"])
    fit(images, tmp_path / "cut", saves, stops, **options)
    assert_equal(fit(images, tmp_path / "cut", ckpt_path=path, **options), straight)
