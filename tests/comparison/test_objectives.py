"""Heads of several labels an image, and of numbers, against scikit-learn and training alone."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, mean_absolute_error

from tltool.comparison.compare import compare_heads
from tltool.comparison.cross_validation import SplitRows, cross_validation, strata
from tltool.comparison.head_stack import train_head_stack
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.models.heads import Head
from tltool.models.label_loss import label_loss

SGD = {"name": "SGD", "lr": 0.1}
LINEAR, DEAD = (
    Variant({"hidden_features": []}, SGD),
    Variant({"hidden_features": [2], "dropout": 0.98}),
)
SPLITS = ["train"] * 150 + ["val"] * 50 + ["test"] * 100


@pytest.fixture(scope="module")
def features():
    return torch.randn(300, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels(features):
    """Two classes that follow from a feature each, of which an image may have both."""
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    return (features[:, :2] + 0.5 * noise > 0.5).float()


@pytest.fixture(scope="module")
def numbers(features):
    noise = torch.randn(300, generator=torch.Generator().manual_seed(1))
    return 50 + 10 * features[:, 0] + 3 * noise


def settings(objective, **options):
    return TrainingSettings(epochs=20, objective=objective, **options)


def compare(features, labels, objective, splits=SPLITS, **options):
    heads = {"linear": LINEAR, "dead": DEAD}
    return compare_heads(
        features, labels, heads, splits=splits, seeds=1, settings=settings(objective), **options
    )


def test_a_linear_head_of_several_labels_ranks_as_logistic_regression_does(features, labels):
    found = compare(features, labels, "multi_label")
    models = [LogisticRegression().fit(features[:150], each[:150]) for each in labels.T]
    scores = [model.decision_function(features[200:]) for model in models]
    expected = average_precision_score(labels[200:], np.stack(scores, axis=1), average="macro")
    assert found.row("linear").result.mean == pytest.approx(expected, abs=0.02)
    assert found.score.name == "mAP"


def test_a_linear_head_of_numbers_has_the_error_of_ridge_regression(features, numbers):
    found = compare(features, numbers, "regression")
    predicted = Ridge().fit(features[:150], numbers[:150]).predict(features[200:])
    expected = mean_absolute_error(numbers[200:], predicted)
    assert found.row("linear").result.mean == pytest.approx(expected, rel=0.1)


def test_the_head_with_the_smaller_error_is_recommended(features, numbers):
    found = compare(features, numbers, "regression", reference="dead")
    assert found.recommended == "linear"
    assert "linear is better than dead (-" in found.summary()
    assert {"mae", "mae_low", "difference"} <= found.table()[0].keys()


@pytest.mark.parametrize("objective", ["multi_label", "regression"])
def test_cross_validation_reports_on_every_image(features, labels, numbers, objective):
    targets = labels if objective == "multi_label" else numbers
    found = compare(features, targets, objective, None, num_folds=3)
    assert found.per_image["linear"].shape == (1, 300)
    (difference,) = found.differences
    assert difference.is_finding
    assert difference.gain < 0


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("multi_label", {"label_smoothing": 0.1, "class_weights": [1.0, 3.0]}),
        ("regression", {}),
        ("regression", {"regression_loss": "huber"}),
    ],
)
def test_losses_of_a_stack_are_those_of_the_task(objective, options):
    logits = 3 * torch.randn(2, 5, 2 if objective == "multi_label" else 1)
    labels = torch.rand(2, 5, 2).round() if objective == "multi_label" else torch.randn(2, 5)
    found = settings(objective, **options).losses(logits, labels)
    if "class_weights" in options:
        options = options | {"class_weights": torch.tensor(options["class_weights"])}
    expected = [
        label_loss(*pair, objective=objective, **options)
        for pair in zip(logits, labels, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_numbers_are_learned_in_any_unit(features, numbers):
    rows = torch.arange(300)
    split = SplitRows(rows[:150], rows[150:200], rows[200:], seeds=(0,))
    found = []
    for unit in (1.0, 1000.0):
        torch.manual_seed(0)
        options = {"lrs": [0.01], "seeds": [0], "settings": settings("regression")}
        (head,) = train_head_stack([Head(8, 1)], features, unit * numbers, split, **options)
        found.append(head.outputs / unit)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-2)


def test_trainings_that_all_diverge_are_refused(features, numbers):
    heads = {"linear": LINEAR}
    with pytest.raises(ValueError, match="Every training has diverged"):
        compare_heads(
            features, numbers, heads, splits=SPLITS, lr=1e30, settings=settings("regression")
        )


def test_folds_share_out_the_rarest_class_of_each_image():
    labels = torch.zeros(60, 2)
    labels[:, 0], labels[::10, 1] = 1, 1
    found = cross_validation(strata(labels, 3), [0], num_folds=3, are_classes=False)
    assert [int(labels[fold.test, 1].sum()) for fold in found] == [2, 2, 2]


def test_folds_share_out_small_and_large_numbers():
    numbers = torch.rand(90, generator=torch.Generator().manual_seed(0))
    found = cross_validation(strata(numbers, 3), [0], num_folds=3, are_classes=False)
    means = torch.stack([numbers[fold.test].mean() for fold in found])
    assert float(means.max() - means.min()) < 0.03


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_any_class_has_no_score(features, labels, split):
    labels = labels.clone()
    labels[[name == split for name in SPLITS]] = 0
    with pytest.raises(ValueError, match=r"images have none of the classes.*no mAP"):
        compare(features, labels, "multi_label")


@pytest.mark.parametrize("options", [{"log_prior": True}, {"sampling": "class_balanced"}], ids=str)
@pytest.mark.parametrize("objective", ["multi_label", "regression"])
def test_what_is_for_one_class_an_image_is_refused(objective, options):
    with pytest.raises(ValueError, match=f"is for images of one class each.*{objective}"):
        settings(objective, **options)


def test_labels_of_another_kind_are_refused(features, labels):
    with pytest.raises(ValueError, match=r"labels \(N,\), got"):
        compare(features, labels, "regression")


def test_numbers_that_are_none_are_refused(features, numbers):
    with pytest.raises(ValueError, match=r"Labels of 1 image are not finite.*Leave it out"):
        compare(features, numbers.index_fill(0, torch.tensor([7]), torch.nan), "regression")


@pytest.mark.parametrize("factor", [0.5, 2])
def test_several_labels_that_are_not_0_or_1_are_refused(features, labels, factor):
    with pytest.raises(ValueError, match=f"are 0 or 1, got {factor}"):
        compare(features, factor * labels, "multi_label")


def test_several_labels_of_another_type_are_those_of_numbers(features, labels):
    whole, usual = (
        compare(features, each, "multi_label", lr=0.1) for each in (labels.long(), labels)
    )
    assert whole.row("linear").result == usual.row("linear").result
