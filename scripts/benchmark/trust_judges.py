"""What trust.py measures on features: flipped labels, classes left out, coverage of sets."""

import warnings
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional
from trust_features import SetFeatures

from tltool.evaluation.prediction_sets import ConformalScores, SetCounts, prediction_sets
from tltool.evaluation.unknown_inputs import fit_feature_distance, fit_unknown_score
from tltool.models.ridge_probe import RidgeProbe, fit_ridge_probe

COVERAGES = (0.8, 0.9, 0.95)


def flip_labels(
    labels: Tensor, clean: Tensor, share: float, *, kind: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Return labels of which a share is flipped, and which these are, ``(N,)``.

    Args:
        labels: The labels as they are.
        clean: What a probe gives each class, which says which are similar, ``(N, C)``.
        share: Of all images.
        kind: ``random`` to any other class; ``similar`` to the one that images of the class get
            the second-highest probability of.
        seed: Of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    number, num_classes = len(labels), clean.shape[1]
    rows = torch.randperm(number, generator=generator)[: round(share * number)]
    means = torch.stack([clean[labels == label].mean(dim=0) for label in range(num_classes)])
    similar = means.fill_diagonal_(-1).argmax(dim=1)
    shift = torch.randint(1, num_classes, (len(rows),), generator=generator)
    noisy = labels.clone()
    noisy[rows] = (
        similar[labels[rows]] if kind == "similar" else (labels[rows] + shift) % num_classes
    )
    return noisy, functional.one_hot(rows, number).sum(dim=0).bool()


def list_quality(rows: Tensor, flipped: Tensor) -> dict[str, int]:
    """Return how many of a list were flipped, how long it is, and how many were flipped in all."""
    return {
        "found": int(flipped[rows].sum()),
        "listed": len(rows),
        "flipped": int(flipped.sum()),
    }


def cleanlab_list(
    features: Tensor, probabilities: Tensor, labels: Tensor, *, with_own: bool
) -> dict[str, Tensor]:
    """Return the lists of cleanlab.

    Args:
        features: ``(N, D)``.
        probabilities: Of the left-out probe, ``(N, C)``.
        labels: With errors.
        with_own: Let cleanlab fit a classifier of its own too: five folds of logistic regression.
    """
    from cleanlab.classification import CleanLearning
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    given = {
        "labels": labels.numpy(),
        "n_jobs": 1,
        "return_indices_ranked_by": "self_confidence",
    }
    found = {"cleanlab": find_label_issues(pred_probs=probabilities.numpy(), **given)}
    if with_own:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        own = CleanLearning(classifier, seed=0, verbose=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = own.find_label_issues(features.numpy(), labels.numpy())
        issues = table[table["is_label_issue"]].sort_values("label_quality")
        found["cleanlab, own classifier"] = issues.index.to_numpy()
    return {name: torch.from_numpy(np.asarray(rows).copy()).long() for name, rows in found.items()}


def unknown_aurocs(images: SetFeatures, label: int) -> dict[str, float]:
    """Return how well scores tell a class that was left out of training from the others.

    Half of the known validation images say how the signs spread, as those of a run do; the other
    half and all unknown ones are judged.
    """
    known = images.labels != label
    trains = ~images.is_val & known
    labels = images.labels - (images.labels > label).long()
    probe = fit_ridge_probe(images.features[trains], labels[trains], len(images.class_names) - 1)
    distance = fit_feature_distance(images.features[trains], labels[trains])
    rows = (images.is_val & known).nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    first, second = rows[order[::2]], rows[order[1::2]]
    judged = torch.cat([second, (images.is_val & ~known).nonzero()[:, 0]])
    score = fit_unknown_score(
        distance, images.features[first], probabilities_of(probe, images.features[first])
    )
    features, is_unknown = images.features[judged], ~known[judged]
    probabilities = probabilities_of(probe, features)
    normal = functional.normalize(images.features[trains])
    near = torch.cdist(functional.normalize(features), normal).topk(5, largest=False).values[:, -1]
    scores = {
        "tltool": score.score(features, probabilities),
        "maximum softmax": -probabilities.max(dim=1).values,
        "Mahalanobis": distance.score(features),
        "5th neighbor": near,
    }
    return {name: auroc(each, is_unknown) for name, each in scores.items()}


def probabilities_of(probe: RidgeProbe, features: Tensor) -> Tensor:
    """Return the probabilities of a closed-form probe as a network has them."""
    weight, bias = probe.linear()
    logits: Tensor = features.double() @ weight.T + bias
    return logits.softmax(dim=1).float()


def auroc(scores: Tensor, positive: Tensor) -> float:
    """Return how often a positive scores higher than a negative."""
    ranks = torch.from_numpy(rankdata(scores.double().numpy()))
    number, others = int(positive.sum()), int((~positive).sum())
    return float(ranks[positive].sum() - number * (number + 1) / 2) / (number * others)


def val_logits(images: SetFeatures) -> Tensor:
    """Return the logits of the closed-form probe on the validation images."""
    trains = ~images.is_val
    number = len(images.class_names)
    probe = fit_ridge_probe(images.features[trains], images.labels[trains], number)
    weight, bias = probe.linear()
    return images.features[images.is_val].double() @ weight.T + bias


def coverage_of(logits: Tensor, labels: Tensor, draw: int) -> dict[str, Any]:
    """Return coverage and size of sets, in a draw that halves the validation images.

    One half sets the thresholds, the other half is judged. `exact` may leave sets empty, which
    split conformal prediction does; `written` never does, as predictions have them. Also at the
    temperature that suits the first half.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(draw))
    first, second = order[::2], order[1::2]
    found: dict[str, Any] = {"num_images": len(second), "num_known": len(first)}
    for kind, temperature in (
        ("raw", 1.0),
        ("scaled", temperature_of(logits[first], labels[first])),
    ):
        probabilities = (logits / temperature).softmax(dim=1)
        scores = ConformalScores.of(probabilities[first], labels[first])
        for coverage in COVERAGES:
            thresholds = scores.thresholds(coverage, logits.shape[1])
            exact = 1 - probabilities[second] <= thresholds
            written = prediction_sets(probabilities[second], thresholds)
            exact_counts = SetCounts.of(exact, labels[second])
            counts = SetCounts.of(written, labels[second])
            found[f"{kind} {coverage}"] = [exact_counts.coverage, counts.coverage, counts.size]
    return found


def temperature_of(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the least cross-entropy, out of a grid."""
    grid = torch.logspace(-1, 1, 81, dtype=torch.float64)
    losses = [functional.cross_entropy(logits / each, labels) for each in grid]
    return float(grid[int(torch.stack(losses).argmin())])
