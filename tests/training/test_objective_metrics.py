"""Metrics of several classes and of numbers, against scikit-learn."""

import math

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)

from tltool.data.loading.labels import TargetStats
from tltool.training.metrics import stage_metrics

LEVELS = TargetStats(0.5, 0.4, (0.0, 1 / 3, 2 / 3, 1.0))


def measured(metrics, outputs, targets, batch=7):
    for part, labels in zip(outputs.split(batch), targets.split(batch), strict=True):
        metrics.update(value=torch.tensor(0.0), weight=len(part), preds=part, target=labels)
    found = {name: each for name, each in metrics.compute().items() if each.ndim == 0}
    return {name.removeprefix("val/"): float(each) for name, each in found.items()}


def test_metrics_of_several_classes_are_those_of_scikit_learn():
    probabilities = torch.rand(40, 4, generator=torch.Generator().manual_seed(0))
    labels = (torch.rand(40, 4, generator=torch.Generator().manual_seed(1)) > 0.6).float()
    found = measured(stage_metrics(4, "val", "multi_label"), probabilities, labels)
    truth, said = labels.int().numpy(), (probabilities > 0.5).int().numpy()
    expected = {
        "loss": 0.0,
        "map": average_precision_score(truth, probabilities.numpy(), average="macro"),
        "f1_macro": f1_score(truth, said, average="macro"),
        "accuracy": (truth == said).mean(),
        "exact_match": accuracy_score(truth, said),
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_class_that_no_image_has_is_left_out_of_the_mean():
    probabilities, labels = torch.rand(9, 2), torch.zeros(9, 2)
    labels[:3, 0] = 1
    found = measured(stage_metrics(2, "val", "multi_label"), probabilities, labels)
    expected = average_precision_score(labels[:, 0].int().numpy(), probabilities[:, 0].numpy())
    assert found["map"] == pytest.approx(expected)


def test_metrics_of_numbers_are_those_of_scikit_learn():
    levels = torch.tensor(LEVELS.levels)
    targets = levels[torch.randint(4, (30,), generator=torch.Generator().manual_seed(0))]
    noise = torch.randn(30, 1, generator=torch.Generator().manual_seed(1))
    predicted = targets[:, None] + 0.3 * noise
    found = measured(stage_metrics(1, "val", "regression", LEVELS), predicted, targets)
    truth, said = targets.double().numpy(), predicted[:, 0].double().numpy()
    nearest = (predicted - levels).abs().argmin(dim=1).numpy()
    true_level = (targets[:, None] - levels).abs().argmin(dim=1).numpy()
    expected = {
        "loss": 0.0,
        "mae": mean_absolute_error(truth, said),
        "rmse": mean_squared_error(truth, said) ** 0.5,
        "r2": r2_score(truth, said),
        "spearman": spearmanr(truth, said).statistic,
        "kappa": cohen_kappa_score(true_level, nearest, weights="quadratic"),
        "accuracy": accuracy_score(true_level, nearest),
    }
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_target_of_one_value_has_no_correlation():
    found = measured(stage_metrics(1, "val", "regression"), torch.rand(5, 1), torch.ones(5))
    assert all(math.isnan(found[name]) for name in ("r2", "spearman"))
