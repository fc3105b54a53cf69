"""The same rows on terminal, page and W&B."""

import io
import math
import shutil
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from tltool.cli.report_measure import measure_run
from tltool.evaluation.baselines import MAJORITY, RUN
from tltool.evaluation.per_class import ClassMetrics
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.measured_weights import describe_weights
from tltool.reporting.report import render_report
from tltool.reporting.run_record import read_run
from tltool.reporting.run_report import run_report
from tltool.reporting.run_tables import score_table
from tltool.reporting.tables import FactTable, class_table, rich_table
from tltool.reporting.wandb.saved_report import markdown_table
from tltool.training.callbacks.ending_files import ENDING, last_epoch
from tltool.training.checkpoint_io import TASK


def printed(table):
    file = io.StringIO()
    Console(file=file, width=300).print(rich_table(table))
    return file.getvalue()


@pytest.fixture
def run(finished, measured_split):
    return MeasuredRun(read_run(finished), "no plan", measured_split(run=90, probe=80))


def test_page_terminal_and_report_on_wandb_show_the_same_accuracies(run):
    table = score_table(run.evaluation, run.measured)
    report = run_report(run, images=False)
    page, markdown = render_report(report, made_with=""), markdown_table(report.table)
    for cell in (row[1] for row in table.cells):
        assert f">{cell}</td>" in page
        assert f"| {cell} |" in markdown
        assert cell in printed(table)


def test_a_name_that_looks_like_markup_is_printed_as_it_is():
    assert "[bold]ants" in printed(FactTable(["class"], [["[bold]ants"]]))


def test_a_heading_and_a_note_are_printed_as_they_are():
    text = printed(FactTable(["[b]as :dog:"], [["x"]], note="[/] of"))
    assert "[b]as :dog:" in text
    assert "[/] of" in text


def test_a_newline_in_a_name_tears_no_table():
    lines = printed(FactTable(["class"], [["two\nlines"], ["\x1b[31mred"]])).splitlines()
    assert len(lines) == 6
    assert len(set(map(len, lines))) == 1


def test_markdown_takes_no_name_for_markup():
    cell = markdown_table(FactTable(["class"], [["*a* [b](c) `d` $e$"]])).splitlines()[-1]
    assert cell == r"| \*a\* \[b\](c) \`d\` \$e\$ |"


def test_classes_that_are_left_out_are_counted_on_all_doors():
    classes = [ClassMetrics(str(n), 1, 0.5, 0.5, n / 10, None, "", 0) for n in range(9)]
    table = class_table(classes, most=2)
    assert table.note.startswith("7 more")
    assert table.note in printed(table)
    assert table.note in markdown_table(table)


def test_of_many_classes_those_with_the_lowest_f1_are_shown():
    classes = [ClassMetrics(str(n), 1, 0.5, 0.5, n / 10, None, "", 0) for n in (9, 1, 5)]
    assert [row[0] for row in class_table(classes, most=2).rows] == ["1", "5"]


def words_on(table, row):
    return {each[0]: each[-1] for each in table.rows}[row]


def test_a_constant_guess_is_named_and_so_is_one_that_does_better_here(measured_split):
    found = measured_split(run=90, probe=80, majority=30)
    found.single_label.labels[:20] = 1  # 60 of 100 images are bees.
    said = words_on(score_table(found, ""), MAJORITY)
    assert said.startswith("Always saying 'ants', the class of most training images;")
    assert said.endswith("On these images always saying 'bees' has 0.600.")


def with_ending(run, folder, ending):
    """Return the record of a run whose best checkpoint says so of its weights."""
    best = folder / "best.ckpt"
    torch.save({TASK: {}, "state_dict": {}, ENDING: ending}, best)
    return replace(run.record, checkpoint=best)


def test_a_last_epoch_that_validation_chose_is_not_called_unchosen(run, tmp_path):
    record = with_ending(run, tmp_path, last_epoch(ends_on_validation=True))
    words = describe_weights(record, {}, score="accuracy")
    assert words.endswith("the validation images chose when it ended.")
    assert "These images chose" in words_on(score_table(run.evaluation, words), RUN)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ({}, "best validation accuracy. These images chose it: slightly optimistic."),
        (last_epoch(ends_on_validation=False), "The last epoch, as the run asked for"),
        ({"candidate": "0.5 of best epoch"}, "images: 0.5 of best epoch. These"),
    ],
)
def test_the_weights_that_were_measured_are_named(run, tmp_path, ending, said):
    record = with_ending(run, tmp_path, ending)
    words = describe_weights(record, {}, score="accuracy")
    table = score_table(run.evaluation, words, has_chosen=record.has_chosen)
    assert said in words_on(table, RUN)
    assert ("These images chose" in words_on(table, RUN)) is record.has_chosen


@pytest.mark.parametrize(
    ("words", "is_whole", "said"),
    [
        ((), True, "The last epoch, as the run asked for: the validation images chose nothing."),
        ((), False, "best validation accuracy. These images chose it: slightly optimistic."),
        (("--trainer.limit_train_batches", "0.5"), True, "best validation accuracy. These images"),
    ],
    ids=["whole", "killed in front of its end", "a try"],
)
def test_only_a_run_that_came_to_its_end_holds_the_last_epoch(
    fit, measured_split, words, is_whole, said
):
    run_dir = fit("--ending.choose", "last", *words, name="last", epochs=1)
    checkpoints = run_dir / "checkpoints"
    if not is_whole:  # As it was in front of the end.
        shutil.move(checkpoints / "best_epoch.ckpt", checkpoints / "best.ckpt")
    found = measure_run(run_dir)
    table = score_table(found.evaluation, found.measured, has_chosen=found.record.has_chosen)
    assert said in words_on(table, RUN)


def test_an_epoch_whose_metric_is_nan_is_not_the_best_one(finished):
    record = replace(read_run(finished), metrics={"val/accuracy": [(0, math.nan), (1, 0.5)]})
    assert record.best_epoch == 1
