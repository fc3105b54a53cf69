"""Devices and steps are counted from the configuration as the Trainer counts them."""

import pytest

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
