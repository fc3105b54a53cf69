"""Early stopping counts in the last phase only, and phases that never ran are said."""

import logging

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from tltool.finetuning.strategies import LPFT
from tltool.training.callbacks.early_end import EarlyEnd
from tltool.training.callbacks.finetuning import Finetuning


class StopAt(Callback):
    """End training with an epoch, as a callback of the user may."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop |= trainer.current_epoch == self.epoch


@pytest.fixture
def fit_phases(make_task, fit):
    """Fit six epochs, two of them a probe."""
    return lambda *callbacks, **options: fit(
        *(make_task(), Finetuning(LPFT(probe_epochs=2)), *callbacks, EarlyEnd()),
        **{"max_epochs": 6, **options},
    )


def never_improves(**options):
    """An early stopping that ends at the first validation behind the first of its count."""
    return EarlyStopping("val/loss", patience=1, min_delta=100, **options)


def test_the_patience_begins_with_the_last_phase(fit_phases):
    trainer = fit_phases(never_improves())
    assert trainer.current_epoch == 4  # Two of the probe, and then two as in a run of one phase.


def test_the_same_where_it_is_checked_behind_a_validation(fit_phases):
    trainer = fit_phases(never_improves(check_on_train_epoch_end=False))
    assert trainer.current_epoch == 4


def test_several_validations_in_an_epoch_of_the_probe_do_not_end_it(fit_phases):
    trainer = fit_phases(never_improves(), val_check_interval=0.25)
    assert trainer.current_epoch >= 2


def test_a_phase_that_never_ran_is_named(fit_phases, caplog):
    with caplog.at_level(logging.WARNING, "tltool"):
        fit_phases(StopAt(0))
    assert (
        "Training ended in phase 'probe' (a callback stopped it): 'full' never ran" in caplog.text
    )


def test_an_end_in_the_last_phase_is_no_news(fit_phases, caplog):
    with caplog.at_level(logging.WARNING, "tltool"):
        fit_phases(StopAt(3))
    assert "never ran" not in caplog.text
