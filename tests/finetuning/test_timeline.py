"""A timeline has no gaps, and phases end at the boundaries that they promise."""

import itertools

import pytest

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.timeline import make_timeline

UNTIL = Until("val/loss", max_epochs=4)


def spans(*phases, **options):
    options = {"steps_per_epoch": 10, "max_epochs": 6} | options
    timeline = make_timeline(Schedule(phases), **options)
    return [(span.start, span.end) for span in timeline.spans]


def test_phases_in_epochs_end_with_them():
    assert spans(Phase("a", ("head",), epochs=2), Phase("b", ("*",))) == [(0, 20), (20, 60)]


def test_an_epoch_that_a_phase_in_steps_has_begun_is_the_first_of_the_next():
    phases = [Phase("a", ("*",), steps=13), Phase("b", ("*",), epochs=2), Phase("c", ("*",))]
    assert spans(*phases) == [(0, 13), (13, 30), (30, 60)]


def test_a_phase_that_a_metric_has_ended_ends_there():
    phases = [Phase("a", ("head",), until=UNTIL), Phase("b", ("*",))]
    assert spans(*phases) == [(0, 40), (40, 60)]
    assert spans(*phases, ended={"a": 2}) == [(0, 20), (20, 60)]


def test_decay_runs_over_the_epochs_that_a_metric_allows():
    schedule = Schedule((Phase("a", ("head",), until=UNTIL), Phase("b", ("*",))))
    options = {"steps_per_epoch": 10, "max_epochs": 6}
    planned = make_timeline(schedule, **options)
    ended = make_timeline(schedule, **options, ended={"a": 2})
    assert planned.at(15).progress(15) == ended.at(15).progress(15) == pytest.approx(15.5 / 40)


def test_every_step_has_one_phase_and_progress_grows():
    schedule = Schedule((Phase("a", ("*",), steps=13), Phase("b", ("*",))))
    timeline = make_timeline(schedule, steps_per_epoch=10, max_epochs=3)
    assert [timeline.at(step).phase.name for step in range(30)] == ["a"] * 13 + ["b"] * 17
    progress = [timeline.at(step).progress(step) for step in range(13, 30)]
    assert all(0 < a < b < 1 for a, b in itertools.pairwise(progress))


def test_max_steps_cuts_the_last_phase():
    assert spans(Phase("a", ("*",)), max_steps=25) == [(0, 25)]


@pytest.mark.parametrize(
    ("phases", "options", "message"),
    [
        ([Phase("a", ("*",), steps=61)], {}, "from step 0 to 61, but training has 60 steps"),
        ([Phase("a", ("*",), steps=59)], {}, "Leave out the length of the last phase 'a'"),
        (
            [Phase("a", ("*",), epochs=3), Phase("b", ("*",))],
            {"max_steps": 30},
            "'b' would begin at step 30, but training ends after 30",
        ),
    ],
)
def test_phases_that_do_not_fit_are_refused(phases, options, message):
    with pytest.raises(ValueError, match=message):
        spans(*phases, **options)
