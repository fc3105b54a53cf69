"""Devices and steps are counted from the configuration as the Trainer counts them."""

from typing import Union

import pytest
from lightning.pytorch import Trainer

from tltool.cli.sections import experiment_parser
from tltool.cli.trainer_section import check_accelerator, num_devices, steps_per_epoch


def test_devices_are_counted_as_the_trainer_does():
    assert [num_devices(d) for d in (2, "2", "0,1,3", [0, 1])] == [2, 2, 3, 2]


def test_a_last_batch_of_one_image_is_no_step():
    assert steps_per_epoch({}, 9, 4) == 2


def test_a_limit_is_a_number_of_batches_or_a_share():
    limits = (1, 5, 0.5, 1.0)
    assert [steps_per_epoch({"limit_train_batches": n}, 12, 4) for n in limits] == [1, 3, 1, 3]


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "GPU", "tpu"])
def test_an_accelerator_that_is_not_there_names_auto(accelerator, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"is not there.*--trainer\.accelerator auto"):
        check_accelerator(accelerator)


@pytest.mark.parametrize("accelerator", ["auto", "cpu", "my_own", None])
def test_an_accelerator_that_is_there_or_the_user_s_own_passes(accelerator):
    check_accelerator(accelerator)


@pytest.mark.parametrize("name", ["limit_train_batches", "overfit_batches", "val_check_interval"])
def test_one_batch_stays_one_whatever_was_imported_before(monkeypatch, name):
    swapped = Trainer.__init__.__annotations__ | {name: Union[float, int, None]}  # noqa: UP007
    monkeypatch.setattr(Trainer.__init__, "__annotations__", swapped)
    config = experiment_parser("fit").parse_args(["--data.root", ".", f"--trainer.{name}", "1"])
    assert type(config.trainer[name]) is int
