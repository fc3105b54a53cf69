"""A race to a training loss."""

import math

import pytest
import torch

from tltool.comparison.head_stack import TrainedHead
from tltool.comparison.training_settings import TrainingSettings
from tltool.lecture.race import LOSSES, Racer, epochs_to, race, racers
from tltool.lecture.training import train_grid
from tltool.reporting.figures.axes import new_figure

FAST = Racer([2.0, 2.0], 3)
SLOW = Racer([4.0, 4.0], 4)
NEVER = Racer([math.inf, math.inf], 3)


def trained(*losses):
    return TrainedHead({}, list(losses), [], math.nan, torch.zeros(0), 0.0)


def chosen(*losses):
    """The learning rate that wins, of those with these losses after each epoch."""
    rows = [{"head": {}, "lr": lr, "run": trained(*each)} for lr, each in enumerate(losses)]
    (row,) = race(rows, 1.0)
    return row["lr"]


def test_the_lr_that_arrives_first_wins():
    assert chosen([2.0, 2.0, 0.5], [2.0, 1.0, 5.0]) == 1


def test_an_lr_that_arrives_beats_one_that_does_not():
    assert chosen([9.0, 1.1], [9.0, 1.0]) == 1


def test_of_those_that_never_arrive_the_nearest_wins():
    assert chosen([9.0, math.nan], [9.0, 1.5], [9.0, 3.0]) == 1


def test_the_slower_one_takes_more_epochs_in_every_seed():
    assert SLOW.is_slower(FAST, 2.0)
    assert not SLOW.is_slower(FAST, 2.1)
    assert not Racer([4.0, 2.0], 4).is_slower(FAST, 1.0)


def test_nothing_is_slower_than_what_never_arrives():
    assert NEVER.is_slower(FAST, 1.5)
    assert not SLOW.is_slower(NEVER, 0.1)


@pytest.mark.parametrize(
    ("one", "other", "times"),
    [
        (SLOW, FAST, "2"),
        (NEVER, FAST, "more than 1.5"),
        (FAST, NEVER, "less than 0.67"),
        (NEVER, NEVER, "unknown"),
    ],
)
def test_what_never_arrives_bounds_the_ratio(one, other, times):
    assert one.times(other) == times


def test_losses_that_are_no_numbers_are_drawn_at_the_cap(recwarn):
    figure, (axes,) = new_figure()
    rows = [{"name": "never", "seed": 0, "training_loss": [5.0, math.nan, math.inf], "target": 0.1}]
    LOSSES.draw(axes, rows)
    figure.draw_without_rendering()
    assert axes.lines[0].get_ydata().tolist() == [3.0] * 3
    assert not recwarn


def test_each_network_races_at_its_fastest_lr(blobs):
    networks = [{"name": "small", "head": {"hidden_features": [8]}}]
    rows = train_grid(blobs.standardized(), networks, [1e-3, 0.1], 2, TrainingSettings(epochs=4))
    raced = race(rows, 0.8)
    assert {row["lr"] for row in raced} == {0.1}
    assert racers(raced)["small"].epochs == [row["epochs_to_target"] for row in raced]


@pytest.mark.parametrize(
    ("target", "losses", "epochs"),
    [(1.0, [3.0, 2.0, 0.0], 2.5), (2.0, [2.0, 1.0], 1.0), (0.5, [2.0, math.nan], math.inf)],
)
def test_epochs_are_counted_between_epochs(target, losses, epochs):
    assert epochs_to(target, losses) == epochs
