"""A run that is cut at any place inside an epoch and resumed equals one that is not."""

import runpy
from pathlib import Path

import pytest
import torch

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
    """Return the keys whose tensors differ."""
    if not isinstance(a, dict):
        return not torch.equal(a, b)
    return sorted({str(k) for k in a.keys() | b if k not in a or k not in b or differing(a[k], b[k])})


@pytest.mark.parametrize(("options", "hook", "number"), PLACES)
def test_a_run_saved_at_any_hook_and_resumed_equals_a_straight_one(
    straight, images, tmp_path, options, hook, number
):
    path = tmp_path / "place.ckpt"
    saves = At(hook, number, lambda trainer: trainer.save_checkpoint(path))
    fit(images, tmp_path, saves, **OPTIONS[options])
    resumed = fit(images, tmp_path, ckpt_path=path, **OPTIONS[options])
    assert_equal(resumed, straight(options))


#: What ends a run, as (options, of the run that ends, hook, number of the call that stops it).
ENDS = [
    ("inside", {"max_steps": 8}, None, 0),
    ("inside", {"max_steps": 14}, None, 0),
    ("inside", {"max_steps": 10}, None, 0),
    ("end", {"max_steps": 9}, None, 0),
    ("end", {"max_steps": 12}, None, 0),
    ("second epochs", {"max_steps": 8}, None, 0),
    ("accumulate", {"max_steps": 7}, None, 0),
    ("limit", {"max_steps": 7}, None, 0),
    ("crops", {"max_steps": 8}, None, 0),
    ("inside", {"max_epochs": 2}, None, 0),
    ("inside", {}, "on_train_batch_end", 6),
    ("inside", {}, "on_train_batch_end", 7),
    ("inside", {}, "on_train_batch_end", 10),
    ("inside", {}, "on_validation_end", 3),
    ("end", {}, "on_train_batch_end", 7),
    ("end", {}, "on_train_batch_end", 10),
    ("end", {}, "on_train_epoch_end", 1),
    ("accumulate", {}, "on_train_batch_end", 6),
    ("accumulate", {}, "on_train_batch_end", 7),
    ("over epochs", {}, "on_train_batch_end", 8),
    ("crops", {}, "on_train_batch_end", 8),
]


@pytest.mark.parametrize(("options", "of_end", "hook", "number"), ENDS)
def test_a_run_that_ended_anywhere_and_resumed_equals_a_straight_one(
    straight, images, tmp_path, options, of_end, hook, number
):
    ends = At(hook, number, job["stop"]) if hook else At("on_train_end", 9, None)
    fit(images, tmp_path, ends, **OPTIONS[options] | of_end)
    resumed = fit(images, tmp_path, ckpt_path=last(tmp_path), **OPTIONS[options])
    assert_equal(resumed, straight(options))
