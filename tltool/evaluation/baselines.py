"""Baselines that need no training: constant predictions and a closed-form probe of the features."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from tltool._objective import Objective
from tltool.evaluation.average_precision import mean_average_precision
from tltool.evaluation.paired_differences import Difference, judge
from tltool.evaluation.prediction_kind import PredictionKind
from tltool.evaluation.predictions import Predictions
from tltool.evaluation.regression_scores import absolute_errors
from tltool.evaluation.score import ACCURACY, Score
from tltool.models.label_loss import label_predictions
from tltool.models.ridge_probe import CHEAP, fit_ridge_probe
from tltool.models.target_probe import fit_probe, probe_logits

MAJORITY, PROBE, RUN = "majority class", "closed-form probe", "this run"
FREQUENCIES, MEDIAN, MEAN = "class frequencies", "median", "mean"


def majority_class(train_labels: Tensor) -> int:
    """Return the most frequent class of training labels ``(N,)``."""
    return int(train_labels.mode().values)


def constant_baselines(
    train_labels: Tensor, labels: Tensor, objective: Objective
) -> dict[str, Tensor]:
    """Return what each image contributes to the score of predictions that are the same for all.

    The majority class of training; of several labels the frequency of each class, whose average
    precision is the share of images that have it; of numbers the median of training, which has the
    least absolute error, and the mean.

    Args:
        train_labels: Of the training images: ``(M,)``, or ``(M, num_classes)`` of several labels.
        labels: Of the images that measure, alike.
        objective: What is learned.

    Returns:
        ``(N,)`` by name.

    Example:
        >>> import torch
        >>> train, test = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.0, 1.0])
        >>> constant_baselines(train, test, "regression")["median"].tolist()
        [0.0, 1.0]
    """
    if objective == "single_label":
        return {MAJORITY: labels == majority_class(train_labels)}
    if objective == "multi_label":
        constant = train_labels.double().mean(dim=0).expand(len(labels), -1)
        return {FREQUENCIES: mean_average_precision(constant, labels)[1]}
    values = train_labels.double()
    constants = {MEDIAN: values.quantile(0.5), MEAN: values.mean()}
    return {name: absolute_errors(labels, each) for name, each in constants.items()}


def is_cheap_probe(features: Tensor) -> bool:
    """Tell whether a probe of features ``(N, D)`` is fitted in some ten seconds."""
    num_images, num_features = features.shape
    return num_images * num_features * min(num_images, num_features) <= CHEAP


def probe_correct(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], num_classes: int
) -> Tensor:
    """Return for which images a probe of frozen features is right, ``(N,)``.

    Args:
        train: Features ``(M, D)`` and labels ``(M,)`` that the probe is fitted on.
        test: Features ``(N, D)`` and labels ``(N,)`` that it predicts.
        num_classes: Number of classes.
    """
    features, labels = test
    return fit_ridge_probe(*train, num_classes).predict(features) == labels


def probe_predictions(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], kind: PredictionKind
) -> Predictions:
    """Return what a probe of frozen features predicts, of any objective, see `fit_probe`.

    Args:
        train: Features ``(M, D)`` and labels that the probe is fitted on.
        test: Features ``(N, D)`` and labels that it predicts.
        kind: What is predicted.
    """
    features, labels = test
    probe = fit_probe(*train, kind.num_classes, objective=kind.objective)
    outputs = label_predictions(probe_logits(probe, features), kind.objective)
    return kind.predictions(outputs.float(), labels)


def compare_with_baselines(
    per_image: Tensor,
    baselines: Mapping[str, Tensor],
    groups: Sequence[int] | None = None,
    *,
    score: Score = ACCURACY,
) -> dict[str, Difference]:
    """Return a score less that of each baseline, paired over the images.

    Each is judged by itself: who claims to be better than both needs both, so that their number
    makes no claim more likely by chance.

    Args:
        per_image: What each image contributes to the score, such as whether it is right, ``(N,)``.
        baselines: The same of each baseline, ``(N,)``, by its name.
        groups: The group of each image, where images of one group are alike.
        score: What it is.

    Example:
        >>> import torch
        >>> right, baseline = torch.tensor([1, 1, 1, 0]), torch.tensor([1, 0, 1, 0])
        >>> estimate = compare_with_baselines(right, {"majority": baseline})["majority"].estimate
        >>> estimate.mean, round(estimate.standard_error, 3)
        (0.25, 0.307)
    """
    found = {}
    for name, baseline in baselines.items():
        pair = {RUN: per_image[None], name: baseline[None]}
        found[name] = judge(pair, name, groups, score=score)[0]
    return found
