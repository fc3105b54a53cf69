"""A phase that begins by losing what the one before had is an alarm, and chance is none."""

import pytest

from tltool.diagnostics.health.phase_loss import PhaseLoss


def alarms(*validations, num_images=153, metric="val/accuracy", stage="val"):
    watch = PhaseLoss(stage=stage)
    found = [
        watch.look(phase, {metric: value}, num_images=num_images, by_batch=True)
        for phase, value in validations
    ]
    return [alarm.layer for alarm in found if alarm]


@pytest.mark.parametrize(
    ("validations", "found"),
    [
        ([("probe", 0.94), ("full", 0.88)], ["phase full"]),
        ([("probe", 0.94), ("full", 0.92)], []),  # three images
        ([("probe", 0.94), ("full", 0.95), ("full", 0.80)], []),  # not when it began
        ([("probe", 0.94), ("probe", 0.80), ("full", 0.79)], []),  # the phase before had lost it
        ([("full", 0.70), ("full", 0.30)], []),  # the first phase
        ([("a", 0.9), ("b", 0.6), ("c", 0.4)], ["phase b", "phase c"]),
    ],
)
def test_a_fall_at_the_beginning_of_a_phase_is_an_alarm(validations, found):
    assert alarms(*validations) == found


def test_the_fewer_images_the_larger_a_fall_must_be():
    assert alarms(("probe", 0.9), ("full", 0.8), num_images=20) == []
    assert alarms(("probe", 0.9), ("full", 0.8), num_images=2000) == ["phase full"]


def test_a_task_without_accuracy_is_left_alone():
    assert alarms(("probe", 0.5), ("full", 5.0), metric="val/mae") == []


@pytest.mark.parametrize(("metric", "found"), [("train/accuracy", ["phase full"]), ("val/map", [])])
def test_training_is_looked_at_by_itself(metric, found):
    assert alarms(("probe", 0.8), ("full", 0.7), metric=metric, stage="train") == found
    assert alarms(("probe", 1.0), ("full", 0.96), metric=metric, stage="train") == []
