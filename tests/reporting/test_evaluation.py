import pytest
import torch
from scipy.stats import binomtest
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from tltool.reporting.evaluation import (
    MAJORITY,
    PROBE,
    calibration,
    confusion,
    fingerprint,
    interval,
    names_from_root,
)


@pytest.mark.parametrize("right", [0, 1, 17, 20])
def test_the_interval_is_wilsons(right):
    expected = binomtest(right, 20).proportion_ci(method="wilson")
    assert interval(torch.arange(20) < right) == pytest.approx((expected.low, expected.high))


def test_photos_that_belong_together_widen_the_interval():
    correct = (torch.arange(100) // 10) % 2 == 0  # Each group of ten is right or wrong together.
    low, high = interval(correct)
    wide_low, wide_high = interval(correct, (torch.arange(100) // 10).tolist())
    assert wide_high - wide_low > 2.5 * (high - low)


def test_groups_count_where_all_photos_are_right():
    assert interval(torch.ones(100).bool(), [0, 1] * 50) == interval(torch.ones(2).bool())


def test_a_run_is_compared_with_each_baseline_on_the_same_photos(evaluation):
    found = evaluation(run=90, probe=80).against_baselines()
    assert found[PROBE].estimate.mean == pytest.approx(0.1)
    assert found[MAJORITY].estimate.mean == pytest.approx(0.4)


def test_the_calibration_error_is_that_of_validation(evaluation):
    probabilities = torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
    found = evaluation(run=90, probe=80)
    found.probabilities.copy_(probabilities / probabilities.sum(dim=1, keepdim=True))
    expected = multiclass_calibration_error(found.probabilities, found.labels, 2, n_bins=15)
    assert calibration(found)[1] == pytest.approx(float(expected), abs=1e-6)


def test_rows_of_the_confusion_matrix_are_labels(evaluation):
    found = evaluation(run=75, probe=80)
    predicted = found.probabilities.argmax(dim=1)
    expected = multiclass_confusion_matrix(predicted, found.labels, 2)
    assert confusion(found).tolist() == expected.tolist()


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
def test_another_photo_or_label_is_another_fingerprint(names, labels):
    assert fingerprint(names, labels) != fingerprint(["a", "b"], ["x", "y"])


def test_a_name_that_is_no_utf8_has_a_fingerprint():
    assert fingerprint(["K\udce4fer.png"], ["x"]) != fingerprint(["K\udce5fer.png"], ["x"])
