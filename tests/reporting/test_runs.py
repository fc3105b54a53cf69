"""What is compared of several runs."""

import dataclasses
import os

import pytest

from tltool.data.files.decoding import decode_image
from tltool.evaluation.predictions import PredictionSet
from tltool.reporting.compared_runs import compare_runs
from tltool.reporting.config_differences import config_differences
from tltool.reporting.disagreement_section import disagreement_sections
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_record import read_run


@pytest.fixture
def measured(finished, measured_split):
    """Return a function that makes a run from its seed, its rate and how many images are right."""
    record = read_run(finished)

    def make(seed, rate, right, names=None):
        config = record.config | {"seed_everything": seed, "optimizer": {"lr": rate}}
        found = measured_split(run=right, probe=50)
        return MeasuredRun(
            record=dataclasses.replace(record, config=config),
            plan="",
            evaluation=dataclasses.replace(found, names=names or found.names),
            measured="",
            decode=decode_image,
            mode="RGB",
            epochs_done=2,
        )

    return make


def test_runs_that_differ_in_their_seed_alone_are_taken_together(measured):
    found = compare_runs([measured(0, 0.1, 60), measured(0, 1, 90), measured(1, 0.1, 61)])
    assert list(found.sets[0].variants) == ["A", "B", "C"]  # B has no second seed.
    both = [measured(0, 0.1, 60), measured(1, 1, 90), measured(1, 0.1, 61), measured(0, 1, 91)]
    assert compare_runs(both).sets[0].variants == {"A+C": ["A", "C"], "B+D": ["D", "B"]}


def test_a_difference_beyond_noise_is_told_with_what_to_use(measured):
    found = compare_runs([measured(0, 0.1, 60), measured(0, 1, 90)])
    (difference,) = found.sets[0].differences
    assert difference.estimate.mean == pytest.approx(0.3)
    assert "There is a difference beyond noise" in found.verdict.answer
    assert found.verdict.next_step == "Use B:"


def test_without_a_difference_more_seeds_are_asked_for(measured):
    found = compare_runs([measured(0, 0.1, 60), measured(1, 1, 61)])
    assert "There is no difference beyond noise" in found.verdict.answer
    assert [line.partition("--seed")[2] for line in found.verdict.commands] == ["_everything 2"] * 2


def test_images_in_another_order_are_paired_by_name(measured):
    first, second = measured(0, 0.1, 60), measured(0, 1, 60)
    values = vars(second.evaluation.predictions).values()
    backwards = dataclasses.replace(
        second.evaluation,
        predictions=PredictionSet(*(value.flip(0) for value in values)),
        names=second.evaluation.names[::-1],
    )
    found = compare_runs([first, dataclasses.replace(second, evaluation=backwards)])
    assert found.sets[0].differences[0].estimate.num_differing == 0


def test_other_images_are_not_compared(measured):
    names = [f"new{number}.png" for number in range(100)]
    found = compare_runs([measured(0, 0.1, 60), measured(0, 1, 90, names)])
    assert [images.differences for images in found.sets] == [[], []]
    assert "no ranking" in found.verdict.reasons[0]


def test_of_many_runs_each_is_compared_with_the_first(measured):
    found = compare_runs([measured(0, rate, 60 + rate) for rate in range(6)])
    pairs = [(each.name, each.reference) for each in found.sets[0].differences]
    assert pairs == [(letter, "A") for letter in "BCDEF"]


def test_an_option_that_one_class_lacks_has_a_dash():
    first = {"optimizer": {"class_path": "SGD", "init_args": {"momentum": 0.9}}}
    second = {"optimizer": {"class_path": "Adam", "init_args": {}}}
    assert config_differences([first, second]) == {
        "optimizer": ["SGD", "Adam"],
        "optimizer.momentum": ["0.9", "\N{EN DASH}"],
    }


SAME = {
    "a number as a text": ("1e-3", 0.001),
    "numbers in a list": ([1, 2], [1.0, 2.0]),
    "a class by two import paths": ("torch.optim.AdamW", "torch.optim.adamw.AdamW"),
    "one file": (__file__, os.path.relpath(__file__)),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME.keys())
def test_values_that_mean_the_same_are_no_difference(first, second):
    assert config_differences([{"option": first}, {"option": second}]) == {}


@pytest.mark.parametrize("off", [None, False, 0.0, []])
def test_an_option_that_one_run_lacks_and_the_other_has_off_is_no_difference(off):
    assert config_differences([{"option": off}, {}]) == {}


OTHER = [(True, 1), (None, False), ("a.b.jpg", "a.jpg")]
OTHER += [("my.v1.Head", "my.v2.Head"), ("labels.v1.CSV", "labels.v2.CSV")]


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_values_that_mean_something_else_are_a_difference(first, second):
    assert list(config_differences([{"option": first}, {"option": second}])) == ["option"]


def test_where_a_run_lies_and_what_it_shows_is_no_difference():
    places = {"runs_dir": "a", "name": "b", "ckpt_path": "c", "wandb": {"project": "d"}}
    places["trainer"] = {"enable_progress_bar": False}
    assert config_differences([places, {"trainer": {"enable_progress_bar": True}}]) == {}


def test_images_on_which_runs_disagree_are_listed_with_both_predictions(measured):
    (section,) = disagreement_sections(
        compare_runs([measured(0, 0.1, 60), measured(0, 1, 90)]), images=False
    )
    assert section.is_private
    assert section.sentences == [
        "They differ on 30 of 100 images: A alone is right on 0, B alone on 30, neither on 0."
    ]
    assert section.note.startswith("The clearest 12; 18 more are left out.")
    assert section.table.rows[0] == (
        "60.png",
        "\N{MULTIPLICATION X} bees 0.80",
        "\N{CHECK MARK} ants 0.80",
        "ants",
    )


def test_runs_that_agree_on_all_images_say_so(measured):
    (section,) = disagreement_sections(compare_runs([measured(0, 0.1, 60), measured(0, 1, 60)]))
    assert section.sentences == ["There is none: they predict the same of all 100 images."]
