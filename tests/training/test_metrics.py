"""Metrics hide nothing, and are those of torchmetrics."""

import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from tltool.evaluation.calibration import calibration_error
from tltool.evaluation.predictions import PredictionSet
from tltool.training.metrics import CalibrationError, ConfusionMatrix, MacroF1, stage_metrics


@pytest.fixture
def batches():
    """Two batches of probabilities and labels of 7 classes, of which one has no image."""
    generator = torch.Generator().manual_seed(0)
    preds = torch.rand(2, 20, 7, generator=generator).softmax(dim=-1)
    return [*zip(preds, torch.randint(6, (2, 20), generator=generator), strict=True)]


def counted(metric, batches):
    for preds, target in batches:
        metric.update(preds=preds, target=target)
    return metric.compute()


def test_macro_f1_is_that_of_torchmetrics(batches):
    preds, target = (torch.cat(each) for each in zip(*batches, strict=True))
    expected = multiclass_f1_score(preds, target, 7, average="macro")
    assert counted(MacroF1(7), batches) == pytest.approx(expected)


def test_the_calibration_error_is_that_of_torchmetrics(batches):
    preds, target = (torch.cat(each) for each in zip(*batches, strict=True))
    expected = multiclass_calibration_error(preds, target, 7, n_bins=15)
    assert counted(CalibrationError(), batches) == pytest.approx(expected)


def test_the_calibration_error_is_that_of_a_report_also_of_whole_certainty():
    preds = torch.tensor([[1.0, 0.0]] * 50 + [[0.95, 0.05]] * 50)
    target = torch.tensor([1] * 10 + [0] * 90)
    metrics = stage_metrics(2, "val")
    metrics.update(value=torch.tensor(0.5), weight=100, preds=preds, target=target)
    expected = calibration_error(PredictionSet.from_probabilities(preds, target).bins)
    assert metrics.compute()["val/calibration_error"] == pytest.approx(expected)


def test_the_confusion_matrix_is_that_of_torchmetrics(batches):
    preds, target = (torch.cat(each) for each in zip(*batches, strict=True))
    expected = multiclass_confusion_matrix(preds, target, 7)
    assert counted(ConfusionMatrix(7), batches).tolist() == expected.tolist()


def test_no_metric_holds_a_cell_for_each_pair_of_classes():
    metrics = stage_metrics(8000, "val")
    preds, target = torch.rand(2, 8000), torch.tensor([1, 7999])
    metrics.update(value=torch.tensor(0.5), weight=2, preds=preds, target=target)
    states = [v for m in metrics.values() for v in m.metric_state.values()]
    tensors = [t for state in states for t in (state if isinstance(state, list) else [state])]
    assert max(tensor.numel() for tensor in tensors) <= 3 * 8000


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_a_batch_without_a_loss_is_not_left_out_of_the_mean(stage):
    metrics = stage_metrics(2, stage)["loss"]
    metrics.update(torch.tensor(0.5), weight=4)
    metrics.update(torch.tensor(torch.nan), weight=4)
    assert metrics.compute().isnan()
