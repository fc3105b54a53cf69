"""Compare heads on features of one backbone: train them all, and say which differences are real."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tltool._objective import Objective
from tltool.comparison.cross_validation import SplitRows, cross_validation, split_rows, strata
from tltool.comparison.head_outputs import num_outputs
from tltool.comparison.lr_selection import LR, Selection
from tltool.comparison.result import Comparison
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.trainings import Trainings
from tltool.comparison.variants import Variant, check_variant
from tltool.data.datamodules.class_weights import mean_one
from tltool.evaluation.paired_differences import judge


def compare_heads(
    features: Tensor,
    labels: Tensor,
    variants: Mapping[str, Variant],
    *,
    reference: str | None = None,
    splits: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
    seeds: int | Sequence[int] = 5,
    lr: LR | None = None,
    num_folds: int = 5,
    settings: TrainingSettings | None = None,
    target_loss: float | None = None,
    all_pairs: bool = False,
    show_progress: bool = False,
) -> Comparison:
    """Train heads on the same features and judge their differences.

    Every head gets its own learning rate, the one of a small grid around its optimizer's that does
    best on a tuning split; a grid whose edge is chosen goes on beyond it, once. What is reported
    comes from a test split that chose nothing: ``test``; or ``val`` where ``lr`` is fixed, so that
    there is no choice; or else all images by cross-validation with an inner tuning split. A seed
    decides initialization, batch order, dropout, and the folds.

    Args:
        features: Features of a frozen backbone, ``(N, num_features)``.
        labels: Their classes, ``(N,)``; see the objective of the settings.
        variants: The heads by name, for example from `cross_axes`.
        reference: The head that the others are compared with; ``None`` for the first.
        splits: ``train``, ``val`` or ``test`` for each row; ``None`` for cross-validation.
        groups: Group of each row: groups are never on two sides of a fold, and count as what is
            sampled. ``None`` if each image stands for itself.
        seeds: The seeds, or how many of them. Few seeds tell their own variance badly, and then
            only large differences are found.
        lr: One learning rate for all heads, or ``usual`` for that of each optimizer; ``None`` for a
            choice.
        num_folds: Number of folds of a cross-validation.
        settings: How all heads train.
        target_loss: Training loss to count epochs to; ``None`` for what the reference reaches in
            half of its epochs.
        all_pairs: Judge all pairs and not the differences to the reference alone; that takes
            larger differences to find any.
        show_progress: Say before how long it takes, and show on the error stream how far it is.

    Raises:
        ValueError: If the features do not fit the labels or are not finite, the labels are none of
            the objective, ``class_weights`` are not one for each class, a head cannot be built, or
            there are too few images, also of those that have a class.

    Example:
        >>> labels = torch.arange(60) % 2
        >>> features = torch.randn(60, 8) + labels[:, None]
        >>> small = {"hidden_features": [4]}
        >>> heads = {"relu": Variant(small), "gelu": Variant(small | {"activation": "gelu"})}
        >>> short = TrainingSettings(epochs=2)
        >>> found = compare_heads(features, labels, heads, num_folds=3, seeds=3, settings=short)
        >>> [row.name for row in found.rows], found.per_image["gelu"].shape
        (['relu', 'gelu'], torch.Size([3, 60]))
    """
    settings = settings or TrainingSettings()
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    reference = next(iter(variants), "") if reference is None else reference
    _check_data(features, labels, seeds, lr, settings.objective)
    _check_labels(labels, settings)
    if settings.class_weights is not None and settings.objective == "single_label":
        counts = labels.bincount(minlength=len(settings.class_weights)).tolist()
        settings = replace(settings, class_weights=mean_one(settings.class_weights, counts))
    if settings.objective == "multi_label":
        labels = labels.float()  # As the loss takes them.
    if reference not in variants:
        names = ", ".join(variants) or "none"
        raise ValueError(f"The reference {reference!r} is not among the heads: {names}.")
    for variant in variants.values():
        outputs = num_outputs(labels, settings.objective)
        check_variant(variant, features.shape[1], outputs)
    folds, protocol = _fixed_split(splits or [], seeds, lr, settings.score.name)
    if not folds:
        kind = "stratified" if groups is None else "group-wise"
        chooses = "the next one chooses the lr" if lr is None else _name(lr)
        folds = cross_validation(
            strata(labels, num_folds),
            seeds,
            num_folds=num_folds,
            groups=groups,
            choose=lr is None,
            are_classes=settings.objective == "single_label",
        )
        words = f"{len(seeds)} times {num_folds} {kind} folds of {len(labels)} images"
        protocol = f"{words}: one tests, {chooses}"
    if settings.objective == "multi_label":
        _check_positives(labels, folds)
    trainings = Trainings(features.float(), labels, variants, folds, seeds, settings)
    selection = Selection(trainings, lr=lr, show_progress=show_progress)
    selection.run()
    images = torch.unique(torch.cat([fold.test for fold in folds]))
    sampled = None if groups is None else [groups[row] for row in images.tolist()]
    scores = {name: selection.per_image(name, images) for name in variants}
    if target_loss is None:
        target_loss = selection.loss_half_way(reference)
    if sampled is not None:
        protocol += f", in {len(set(sampled))} groups"
    return Comparison(
        variants=dict(variants),
        reference=reference,
        rows=[selection.row(name, scores[name], sampled, target_loss) for name in variants],
        differences=judge(scores, None if all_pairs else reference, sampled, score=settings.score),
        per_image=scores,
        images=images,
        protocol=protocol,
        target_loss=target_loss,
        seeds=seeds,
        score=settings.score,
    )


def _check_data(
    features: Tensor,
    labels: Tensor,
    seeds: Sequence[int],
    lr: LR | None,
    objective: Objective,
) -> None:
    several = objective == "multi_label"
    if features.ndim != 2 or labels.ndim != 1 + several or len(labels) != len(features):
        wanted = "labels (N, num_classes)" if several else "labels (N,)"
        raise ValueError(
            f"A comparison takes features (N, num_features) and {wanted}, got "
            f"{tuple(features.shape)} and {tuple(labels.shape)}."
        )
    broken = int((~features.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(
            f"Features of {broken} image{'s' * (broken > 1)} are not finite, and heads that train "
            "on them diverge. Check the weights and the preprocessing: tltool doctor."
        )
    if len(torch.unique(labels, dim=0)) < 2:
        what = "values" if objective == "regression" else "classes"
        raise ValueError(f"A comparison needs images of at least 2 {what} to tell apart.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be at least one, all different, got {list(seeds)}.")
    if isinstance(lr, float | int) and not lr > 0:
        raise ValueError(f"`lr` must be positive, got {lr}. Leave it out for an `lr` of each head.")


def _check_labels(labels: Tensor, settings: TrainingSettings) -> None:
    broken = int((~labels.isfinite()).sum())
    if settings.objective == "regression" and broken:
        raise ValueError(
            f"Labels of {broken} image{'s' * (broken > 1)} are not finite, and heads that learn "
            f"them diverge. Leave {'them' if broken > 1 else 'it'} out."
        )
    if settings.objective == "multi_label":
        others = labels[(labels != 0) & (labels != 1)]
        if len(others):
            raise ValueError(f"Labels of several classes are 0 or 1, got {others[0].item():g}.")
    weights, number = settings.class_weights, num_outputs(labels, settings.objective)
    if settings.objective != "regression" and weights is not None and len(weights) != number:
        raise ValueError(
            f"`class_weights` takes one weight for each of the {number} classes, got "
            f"{len(weights)}."
        )


def _check_positives(labels: Tensor, folds: Sequence[SplitRows]) -> None:
    """Raise where the images of a tuning or test split have no class: then there is no score."""
    for fold in folds:
        for rows, split in ((fold.val, "tuning"), (fold.test, "test")):
            if len(rows) and not labels[rows].any():
                raise ValueError(
                    f"The {len(rows)} {split} images have none of the classes, so there is no mAP "
                    "of them. Add images that have one, or set fewer folds."
                )


def _fixed_split(
    splits: Sequence[str], seeds: Sequence[int], lr: LR | None, score: str
) -> tuple[list[SplitRows], str]:
    """Return what trains, tunes and tests, and that in words; nothing if a split is missing."""
    train, val, test = (split_rows(splits, split) for split in ("train", "val", "test"))
    tests = "test images"
    if lr is not None and not len(test):
        val, test, tests = test, val, "validation images, which chose nothing"
    if not (len(train) and len(test) and (len(val) or lr is not None)):
        return [], ""
    chooses = f"lr chosen on {len(val)} validation images" if lr is None else _name(lr)
    words = f"{len(train)} training images; {chooses}; {score} on {len(test)} {tests}"
    return [SplitRows(train, val, test, tuple(range(len(seeds))))], words


def _name(lr: LR) -> str:
    return "the usual lr of each optimizer" if lr == "usual" else f"lr {lr:g}"
