"""A race to a training loss."""

import math

import pytest
import torch

from tltool.comparison.head_stack import Trained
from tltool.lecture.pictures import new_figure
from tltool.lecture.race import (
    Racer,
    check_race,
    cost_of_reaching,
    draw_race,
    edge_note,
    race_rows,
)


def racer(name, *losses, at_edge=False):
    return Racer(name, 0.1, at_edge, losses, target=1.0)


FAST = racer("fast", [2.0, 1.0, 0.5], [3.0, 1.0, 0.5])
SLOW = racer("slow", [5.0, 3.0, 1.5, 1.0], [5.0, 3.0, 1.5, 1.0])
NEVER = racer("never", [5.0, 4.0, math.nan], [5.0, 4.0, math.inf])


def trained(*losses):
    return Trained({}, list(losses), [], math.nan, torch.zeros(0), 0.0)


def test_the_cost_is_the_epochs_to_the_target():
    assert cost_of_reaching(1.0)(trained(2.0, 1.0, 5.0)) == 2


def test_a_run_that_never_arrives_costs_more_than_all_epochs_and_by_what_is_left():
    near, far = (cost_of_reaching(1.0)(trained(9.0, loss)) for loss in (1.5, 3.0))
    assert 2 < near < far


def test_the_slower_one_takes_more_epochs_in_every_seed():
    assert SLOW.is_slower(FAST, 2.0)
    assert not SLOW.is_slower(FAST, 2.1)
    overlap = racer("overlap", [5.0, 3.0, 1.5, 1.0], [5.0, 1.0, 0.5, 0.5])
    assert not overlap.is_slower(FAST, 1.0)


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


def test_only_rates_at_the_edge_are_told():
    assert not edge_note([FAST, SLOW])
    assert "of far is" in edge_note([FAST, racer("far", [1.0], at_edge=True)])


def test_losses_that_are_no_numbers_are_drawn(recwarn):
    figure, (axes,) = new_figure()
    draw_race(axes, [NEVER, FAST])
    figure.draw_without_rendering()
    assert axes.get_ylim()[1] == pytest.approx(15.0)
    assert not recwarn


def test_there_is_a_row_for_each_seed_and_epoch():
    rows = race_rows([FAST, SLOW])
    assert len(rows) == 2 * 3 + 2 * 4
    assert rows[4]["training_loss"] == 1.0
    assert (rows[4]["seed"], rows[4]["epoch"]) == (1, 2)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rates": ()}, "For example"),
        ({"rates": (0.1, 0.0)}, "above 0"),
        ({"seeds": 0}, "at least 1"),
        ({"target": 1.5}, r"\(0, 1\)"),
    ],
)
def test_settings_without_a_result_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        check_race(**{"rates": (0.1,), "seeds": 1, "target": 0.1, **setting})
