"""The command that makes up for the end of a run: `tltool merge` understands it."""

import shlex
from pathlib import Path

import pytest

from tltool.cli import merge as merge_command
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.ending_advice import merge_advice


def advice(**options):
    ending = Ending(**options)
    contest = (ending.average, ending.points, ending.choose)
    return merge_advice(Path("my runs/0"), *contest, has_start=ending.include_start)


@pytest.fixture
def understood(monkeypatch):
    """Return a function that types the command of an advice, and returns what merge is told."""

    def read_sources(paths, average):
        found.update(paths=paths, average=average)

    def merge_weights(sources, average, **options):
        found.update(options)
        raise InterruptedError

    found = {}
    monkeypatch.setattr(merge_command, "read_sources", read_sources)
    monkeypatch.setattr(merge_command, "merge_weights", merge_weights)
    monkeypatch.setattr(merge_command, "_images", lambda *arguments: None)

    def type_(text):
        with pytest.raises(InterruptedError):
            merge_command.main(shlex.split(text.partition("Type: ")[2])[1:])
        return found

    return type_


@pytest.mark.parametrize(
    ("options", "points", "choose"),
    [
        ({"average": "wise_ft"}, [0, 0.25, 0.5, 0.75, 1], "best"),
        ({"average": "wise_ft", "points": [0.5, 1]}, [0.5, 1], "best"),
        (
            {"average": "wise_ft", "points": [0.5, 1], "include_start": True, "choose": "trained"},
            [0.5, 1, 0],
            "trained",
        ),
        ({"include_start": True, "choose": "one_standard_error"}, [0], "one_standard_error"),
    ],
)
def test_merge_understands_it_and_lets_the_same_points_compete(understood, options, points, choose):
    found = understood(advice(**options))
    assert (found["average"], list(found["points"]), found["choose"]) == (
        "wise_ft",
        points,
        choose,
    )
    assert found["paths"] == [Path("my runs/0")]


def test_of_start_and_best_epoch_it_says_that_the_last_epoch_competes_too():
    assert advice(include_start=True).startswith("The last epoch competes there too. Type: ")
    assert advice(average="wise_ft", include_start=True).startswith("Type: ")


def test_of_a_soup_with_the_start_it_says_that_the_start_does_not_compete(understood):
    text = advice(average="soup", include_start=True, choose="trained")
    assert text.startswith("The start does not compete there, so `choose: trained` has no use.")
    found = understood(text)
    assert (found["average"], found["choose"]) == ("soup", "best")
    assert advice(average="soup").startswith("Type: ")
