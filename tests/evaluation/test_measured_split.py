from dataclasses import replace

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from tltool.evaluation.baselines import MAJORITY, PROBE, RUN
from tltool.evaluation.calibration import calibration_error
from tltool.evaluation.measured_limits import MeasuredLimits
from tltool.evaluation.measured_split import MeasuredSplit, fingerprint, names_from_root
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.prediction_sets import SetCounts
from tltool.evaluation.predictions import PredictionSet


def test_a_run_is_compared_with_each_baseline_on_the_same_images(measured_split):
    found = measured_split(run=90, probe=80).differences
    assert found[PROBE].estimate.mean == pytest.approx(0.1)
    assert found[MAJORITY].estimate.mean == pytest.approx(0.4)


def test_the_accuracies_are_those_of_baselines_and_run(measured_split):
    found = measured_split(run=90, probe=80).results
    assert {name: each.value for name, each in found.items()} == pytest.approx(
        {MAJORITY: 0.5, PROBE: 0.8, RUN: 0.9}
    )


def test_what_was_measured_of_trust_is_named(measured_split):
    sets = SetCounts(*torch.tensor([[50, 50], [45, 47], [60, 60], [40, 40]]))
    limits = MeasuredLimits({0.9: sets}, [], 3, 100, "20 val images", 0)
    found = replace(
        measured_split(run=90, probe=80), limits=limits, doubt_counts={"label_errors": 2}
    )
    assert found.trust_numbers == pytest.approx(
        {"label_errors": 2, "unknown_rate": 0.03, "coverage_0.90": 0.92}
    )


def test_the_calibration_error_is_that_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(100, 2, generator=generator)
    probabilities /= probabilities.sum(dim=1, keepdim=True)
    labels = torch.arange(100) % 2
    expected = multiclass_calibration_error(probabilities, labels, 2, n_bins=15)
    found = PredictionSet.from_probabilities(probabilities, labels)
    assert calibration_error(found.bins) == pytest.approx(float(expected), abs=1e-6)


def test_rows_of_the_confusion_matrix_are_labels(measured_split):
    found = measured_split(run=75, probe=80)
    pairs = list(zip(found.predictions.labels, found.predictions.predicted, strict=True))
    assert found.confusion.tolist() == [[pairs.count((i, j)) for j in (0, 1)] for i in (0, 1)]


def test_the_fingerprint_is_the_same_wherever_the_data_lie(tmp_path):
    here = names_from_root([str(tmp_path / "val" / "a.png")], tmp_path)
    there = names_from_root(["/elsewhere/val/a.png"], tmp_path.__class__("/elsewhere"))
    assert fingerprint(here, ["ants"]) == fingerprint(there, ["ants"])


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a", "c"], ["x", "y"]),
        (["a", "b"], ["x", "x"]),
        (["a", "b"], ["y", "x"]),
        (["a"], ["x"]),
    ],
)
def test_another_image_or_label_is_another_fingerprint(names, labels):
    assert fingerprint(names, labels) != fingerprint(["a", "b"], ["x", "y"])


def test_a_name_that_is_no_utf8_has_a_fingerprint():
    assert fingerprint(["K\udce4fer.png"], ["x"]) != fingerprint(["K\udce5fer.png"], ["x"])


def test_several_classes_in_another_order_are_the_same_labels():
    targets = torch.tensor([[1, 1, 0], [0, 1, 1]])

    def fingerprint(order):
        found = MultiLabelPredictions.of(targets[:, order] / 1, targets[:, order])
        names = [["ants", "bees", "wasps"][index] for index in order]
        return MeasuredSplit("val", names, found, ["a", "b"], ["a", "b"], None, {}).fingerprint

    assert fingerprint([0, 1, 2]) == fingerprint([2, 0, 1])
