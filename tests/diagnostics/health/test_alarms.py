"""Health alarms: when a number means that something is wrong."""

import pytest

from tltool.diagnostics.health.alarms import find_alarms
from tltool.diagnostics.health.health_watch import LayerHealth, NormHealth
from tltool.diagnostics.health.unit_window import UnitHealth


def units(**changes):
    """What healthy units do, but for some changes."""
    usual = {"num_rows": 1000, "dead": 0.0, "saturated": 0.4, "mean": 0.5, "std": 1.0}
    return UnitHealth(**{**usual, "effective_rank": 0.6, **changes})


def healthy(**changes):
    """A healthy layer, but for some changes."""
    usual = {"activation": "relu", "units": units(), "one_sign": 1.0, "gradient_along_mean": 0.8}
    usual |= {"update_cosine": 0.9, "gradient": 1.0, "update": 1e-3, "largest_update": 0.02}
    return LayerHealth("head.hidden.0", **{**usual, **changes})


def causes(*layers, norms=()):
    return [alarm.cause for alarm in find_alarms(layers, norms)]


def test_a_healthy_layer_raises_nothing():
    assert causes(healthy(), healthy()) == []


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"dead_in_epoch": 0.6}, "dead units"),
        ({"units": units(dead=0.6)}, "dead units"),
        ({"units": units(saturated=0.7), "is_two_sided": True}, "saturation"),
        ({"units": units(std=0.0)}, "collapsed"),
        ({"units": units(effective_rank=0.0)}, "collapsed"),
        ({"units": units(std=float("nan"))}, "not finite"),
        ({"gradient": float("inf")}, "not finite"),
        ({"largest_update": 0.2}, "large updates"),
        ({"gradient_along_mean": 0.8, "update_cosine": -0.9}, "zig-zag"),
    ],
)
def test_what_is_wrong_has_its_alarm(changes, cause):
    assert causes(healthy(**changes)) == [cause]


@pytest.mark.parametrize(
    "changes",
    [
        {"units": units(dead=0.6, num_rows=64)},  # too few rows to know
        {"units": units(saturated=0.7)},  # what relu is for
        {"gradient_along_mean": 0.9, "update_cosine": 0.5},  # one sign without turning back
        {"gradient_along_mean": 0.1, "update_cosine": -0.9},  # turning back for another reason
    ],
)
def test_what_only_looks_ill_has_none(changes):
    assert causes(healthy(**changes)) == []


@pytest.mark.parametrize(("update", "found"), [(0.3, []), (1.5, ["large updates"])])
def test_the_first_steps_of_an_output_layer_may_be_long(update, found):
    assert causes(LayerHealth("head.output", largest_update=update)) == found


@pytest.mark.parametrize(
    ("first", "cause"), [(1e-5, "vanishing gradient"), (1e5, "exploding gradient")]
)
def test_gradients_are_compared_along_depth(first, cause):
    assert causes(healthy(gradient=first), healthy(gradient=1.0)) == [cause]


def test_an_output_layer_that_began_at_zero_passes_little_gradient_at_first():
    output = LayerHealth("head.output", gradient=1.0, largest_update=1.8, is_short=True)
    assert causes(healthy(gradient=0.0), output) == []


@pytest.mark.parametrize(("shift", "factor"), [(2.0, 1.0), (0.1, 5.0)])
def test_a_lagging_batch_norm_is_told(shift, factor):
    assert causes(norms=[NormHealth("head.hidden.0.norm", shift, factor)]) == ["batch norm lags"]


@pytest.mark.parametrize(("kind", "is_named"), [("relu", True), ("star_relu", False)])
def test_an_alarm_names_a_command_only_for_what_it_knows(kind, is_named):
    (alarm,) = find_alarms([healthy(dead_in_epoch=0.6, activation=kind)])
    assert (f"tltool activations {kind}" in alarm.message) is is_named


def test_the_worst_layer_speaks_for_its_cause():
    layers = [healthy(dead_in_epoch=0.6), healthy(dead_in_epoch=0.9)]
    (alarm,) = find_alarms(layers)
    assert alarm.message.startswith("90%")
