"""Pages and pictures about several labels an image, and about numbers."""

from pathlib import Path

import pytest
import torch

from tltool.evaluation.baselines import FREQUENCIES, MEAN, MEDIAN, PROBE, constant_baselines
from tltool.evaluation.feature_map import map_features
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions
from tltool.reporting.compared_runs import compare_runs
from tltool.reporting.figures.axes import as_image
from tltool.reporting.figures.joint_errors import draw_joint_errors
from tltool.reporting.figures.label_metrics import draw_average_precision, draw_precision_recall
from tltool.reporting.figures.regression import draw_predicted, draw_residuals
from tltool.reporting.map_section import map_section
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.multi_label_sections import label_table
from tltool.reporting.report import render_report
from tltool.reporting.run_record import RunRecord
from tltool.reporting.run_report import predictions_sections, run_report
from tltool.reporting.run_tables import score_table
from tltool.reporting.runs_report import runs_table

NAMES = ["ants", "$bees", "wasps"]


def split_of(predictions, class_names, baselines):
    number = len(predictions)
    return MeasuredSplit(
        split="test",
        class_names=class_names,
        predictions=predictions,
        paths=[f"/data/{n}.png" for n in range(number)],
        names=[f"{n}.png" for n in range(number)],
        groups=None,
        baselines=baselines,
    )


def measured(split):
    record = RunRecord(
        run_dir=Path("runs/images/0"),
        config={"trainer": {"max_epochs": 1}, "data": {}},
        metrics={"train/loss": [(0, 1.0)], "val/map": [(0, 0.5)]},
        steps={0: 1},
        health=None,
        alarms=[],
        checkpoint=None,
    )
    return MeasuredRun(record, "no plan", split)


@pytest.fixture(scope="module")
def labels():
    """Predictions of three classes for 80 images."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(80, 3, generator=generator)
    targets = (probabilities + 0.2 * torch.randn(80, 3, generator=generator) > 0.6).long()
    targets[:, 2] = 0
    found = MultiLabelPredictions.of(probabilities, targets)
    probe = MultiLabelPredictions.of(probabilities.flip(0), targets).per_image
    constant = constant_baselines(targets, targets, "multi_label")
    return split_of(found, NAMES, {**constant, PROBE: probe})


@pytest.fixture(scope="module")
def numbers():
    """Predictions of four levels for 80 images."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(4, (80,), generator=generator) / 3
    found = RegressionPredictions.of(
        targets + 0.1 * torch.randn(80, generator=generator), targets, (0.0, 1 / 3, 2 / 3, 1.0)
    )
    constant = constant_baselines(targets, targets, "regression")
    return split_of(found, ["defect"], {**constant, PROBE: 2 * found.per_image})


def test_a_page_on_several_labels_has_their_classes_and_curves(labels):
    titles = [section.title for section in predictions_sections(labels, None)]
    assert titles == ["Per-class metrics", "Precision and recall", "Joint errors", "Worst mistakes"]
    page = render_report(run_report(measured(labels), images=False), made_with="")
    assert "better than both baselines" in page
    assert "mAP 0." in page


def test_a_page_on_numbers_has_their_scores_and_residuals(numbers):
    titles = [section.title for section in predictions_sections(numbers, None)]
    assert titles == ["Scores", "Predicted and true values", "Residuals", "Worst mistakes"]
    report = run_report(measured(numbers), images=False)
    assert "better than all 3 baselines" in report.verdict.answer
    assert "Better than the median: -0." in render_report(report, made_with="")


def test_the_table_of_scores_names_each_baseline(labels, numbers):
    assert [row[0] for row in score_table(labels, "").rows] == [FREQUENCIES, PROBE, "this run"]
    assert [row[0] for row in score_table(numbers, "").rows] == [MEDIAN, MEAN, PROBE, "this run"]
    assert score_table(numbers, "").columns[1] == "MAE +- error"


def test_the_same_labels_under_another_score_are_other_images():
    labels, names = torch.tensor([0, 1]), ["0.0", "1.0"]
    classes = PredictionSet.from_probabilities(torch.eye(2), labels)
    numbers = RegressionPredictions.of(labels.float(), labels.float())
    both = [split_of(each, names, {}).fingerprint for each in (classes, numbers)]
    assert both[0] != both[1]


def test_the_run_with_the_smaller_error_is_to_be_used(numbers):
    targets = numbers.predictions.targets
    worse = RegressionPredictions.of(numbers.predictions.predicted + 0.3, targets)
    splits = [split_of(worse, ["defect"], numbers.baselines), numbers]
    found = compare_runs([measured(split) for split in splits])
    assert found.verdict.next_step == "Use B:"
    (images,) = found.sets
    assert images.differences[0].estimate.mean < 0
    assert runs_table(found).columns[1:4] == ("MAE", "95 % interval", MEDIAN)


def test_of_many_classes_the_worst_are_listed(labels):
    table = label_table(labels.predictions.classes(NAMES), most=1)
    lowest = min(labels.predictions.classes(NAMES)[:2], key=lambda each: each.average_precision)
    assert [row[0] for row in table.rows] == [lowest.name]
    assert table.note.startswith("2 more classes")


def test_bars_are_of_the_classes_that_occur_the_worst_on_top(labels):
    classes = labels.predictions.classes(NAMES)
    axes = draw_average_precision(classes, 80).axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == sorted((each.average_precision for each in classes[:2]), reverse=True)


def test_a_curve_ends_where_all_images_are_found(labels):
    figure = draw_precision_recall(labels.predictions, NAMES)
    as_image(figure)  # A dollar would begin mathematics.
    assert list(figure.axes[0].get_lines()[0].get_xdata())[-1] == 1


def test_joint_errors_stand_in_their_cells():
    axes = draw_joint_errors(torch.tensor([[0, 3], [1, 0]]), ["$ants", "bees"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0", "3", "1", "0"]


def test_the_mean_prediction_of_each_level_is_drawn(numbers):
    figure = draw_predicted(numbers.predictions, "$defect")
    as_image(figure)
    line = figure.axes[0].get_lines()[-1]
    assert list(line.get_xdata()) == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-6)


def test_all_residuals_are_counted(numbers):
    right = draw_residuals(numbers.predictions, "defect").axes[1]
    assert sum(bar.get_height() for bar in right.patches) == 80


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_a_map_shows_other_labels_than_one_class(kind, request):
    found = request.getfixturevalue(kind)
    mapped = map_features(torch.randn(40, 6), range(40))
    section = map_section(found, mapped)
    assert "A point for each image (40 of 80 test)" in section.pictures[0].description
