from dataclasses import replace

import pytest

from tltool.evaluation.baselines import MAJORITY
from tltool.evaluation.verdict import Mark
from tltool.reporting.run_record import read_run
from tltool.reporting.run_verdict import judge_run, what_next


@pytest.mark.parametrize(
    ("run", "probe", "answer", "command"),
    [
        (95, 70, "Yes", "tltool predict"),
        (90, 89, "In part", "--advise"),
        (70, 95, "No: it learned, but a closed-form probe", "--lr_range"),
        (53, 52, "It cannot be told yet", "tltool validate"),
        (50, 51, "No: it is not provably better than always", "--lr_range"),
        (20, 51, "No: it is not provably better than always", "--lr_range"),
    ],
)
def test_the_answer_follows_from_both_baselines(
    finished, measured_split, run, probe, answer, command
):
    verdict = judge_run(read_run(finished), measured_split(run=run, probe=probe))
    assert verdict.answer.startswith(answer)
    assert command in verdict.commands[0]


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("LPFT", ["--finetuning LinearProbe", "--finetuning LastBlocks"]),
        ("LastBlocks", ["--finetuning LinearProbe", "--finetuning.num_groups 1"]),
        ("LinearProbe", ["--advise"]),
    ],
)
def test_a_run_that_fits_its_training_images_is_to_train_less(finished, strategy, options):
    run = read_run(finished)
    run.metrics["train/accuracy"] = [(0, 1.0)]
    run.config["finetuning"] = {"class_path": strategy, "init_args": {"num_groups": 2}}
    commands = what_next(run, Mark.NO)[1]
    assert [c.endswith(o) for c, o in zip(commands, options, strict=True)] == [True] * len(options)


def test_two_groups_of_images_prove_nothing(finished, measured_split):
    verdict = judge_run(read_run(finished), measured_split(run=95, probe=70, groups=[0, 1] * 50))
    assert verdict.answer.startswith("It cannot be told yet")
    assert verdict.next_step == "Measure it on more images of more groups:"


def test_a_run_that_works_is_to_be_repeated_with_another_seed(finished, measured_split):
    verdict = judge_run(read_run(finished), measured_split(run=95, probe=70))
    assert verdict.commands[1].endswith("--seed_everything 1")


def test_without_a_probe_a_run_that_learned_is_not_said_to_have_paid(finished, measured_split):
    found = measured_split(run=95, probe=70)
    found = replace(found, baselines={MAJORITY: found.baselines[MAJORITY]}, no_probe="moved")
    verdict = judge_run(read_run(finished), found)
    assert verdict.answer.startswith("It cannot be told whether training paid: it is better than")
    assert verdict.commands == [f"tltool report {finished}"]


def test_images_that_chose_the_checkpoint_are_named_so(finished, measured_split):
    verdict = judge_run(read_run(finished), measured_split(run=95, probe=70))
    assert "slightly optimistic" in verdict.reasons[1]


@pytest.mark.parametrize(
    ("objective", "option"), [("single_label", "--advise"), ("regression", "--lr_range")]
)
def test_the_next_step_is_one_that_the_labels_allow(finished, objective, option):
    run = read_run(finished)
    run.config["model"]["objective"] = objective
    assert what_next(run, Mark.SAME)[1][0].endswith(option)
