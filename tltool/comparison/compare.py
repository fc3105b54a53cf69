"""Compare heads on features of one backbone: train them all, and say which differences are real."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tltool.comparison.cross_validation import SplitRows, cross_validation, split_rows
from tltool.comparison.lr_selection import Selection
from tltool.comparison.result import Comparison
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.trainings import Trainings
from tltool.comparison.variants import Variant, check_variant
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
    lr: float | None = None,
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
        labels: Their classes, ``(N,)``.
        variants: The heads by name, for example from `cross_axes`.
        reference: The head that the others are compared with; ``None`` for the first.
        splits: ``train``, ``val`` or ``test`` for each row; ``None`` for cross-validation.
        groups: Group of each row: groups are never on two sides of a fold, and count as what is
            sampled. ``None`` if each image stands for itself.
        seeds: The seeds, or how many of them. Few seeds tell their own variance badly, and then
            only large differences are found.
        lr: One learning rate for all heads; ``None`` for a choice.
        num_folds: Number of folds of a cross-validation.
        settings: How all heads train.
        target_loss: Training loss to count epochs to; ``None`` for what the reference reaches in
            half of its epochs.
        all_pairs: Judge all pairs and not the differences to the reference alone; that takes
            larger differences to find any.
        show_progress: Show a bar on the error stream.

    Raises:
        ValueError: If the features do not fit the labels, a head cannot be built, or there are too
            few images.

    Example:
        >>> labels = torch.arange(60) % 2
        >>> features = torch.randn(60, 8) + labels[:, None]
        >>> small = {"hidden_features": [4]}
        >>> heads = {"relu": Variant(small), "gelu": Variant(small | {"activation": "gelu"})}
        >>> short = TrainingSettings(epochs=2)
        >>> found = compare_heads(features, labels, heads, num_folds=3, seeds=3, settings=short)
        >>> [row.name for row in found.rows], found.correct["gelu"].shape
        (['relu', 'gelu'], torch.Size([3, 60]))
    """
    settings = settings or TrainingSettings()
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    reference = next(iter(variants), "") if reference is None else reference
    _check_data(features, labels, seeds, lr)
    if reference not in variants:
        names = ", ".join(variants) or "none"
        raise ValueError(f"The reference {reference!r} is not among the heads: {names}.")
    for variant in variants.values():
        check_variant(variant, features.shape[1], int(labels.max()) + 1)
    folds, protocol = _fixed_split(splits or [], seeds, lr)
    if not folds:
        kind = "stratified" if groups is None else "group-wise"
        chooses = "the next one chooses the lr" if lr is None else f"lr {lr:g}"
        folds = cross_validation(
            labels, seeds, num_folds=num_folds, groups=groups, choose=lr is None
        )
        words = f"{len(seeds)} times {num_folds} {kind} folds of {len(labels)} images"
        protocol = f"{words}: one tests, {chooses}"
    trainings = Trainings(features.float(), labels, variants, folds, seeds, settings)
    selection = Selection(trainings, lr=lr, show_progress=show_progress)
    selection.run()
    images = torch.unique(torch.cat([fold.test for fold in folds]))
    sampled = None if groups is None else [groups[row] for row in images.tolist()]
    correct = {name: selection.correct(name, images) for name in variants}
    if target_loss is None:
        target_loss = selection.loss_half_way(reference)
    if sampled is not None:
        protocol += f", in {len(set(sampled))} groups"
    return Comparison(
        variants=dict(variants),
        reference=reference,
        rows=[selection.row(name, correct[name], sampled, target_loss) for name in variants],
        differences=judge(correct, None if all_pairs else reference, sampled),
        correct=correct,
        images=images,
        protocol=protocol,
        target_loss=target_loss,
        seeds=seeds,
    )


def _check_data(features: Tensor, labels: Tensor, seeds: Sequence[int], lr: float | None) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            "A comparison takes features (N, num_features) and labels (N,), got "
            f"{tuple(features.shape)} and {tuple(labels.shape)}."
        )
    if len(torch.unique(labels)) < 2:
        raise ValueError("A comparison needs images of at least 2 classes to tell apart.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be at least one, all different, got {list(seeds)}.")
    if lr is not None and not lr > 0:
        raise ValueError(f"`lr` must be positive, got {lr}. Leave it out for an `lr` of each head.")


def _fixed_split(
    splits: Sequence[str], seeds: Sequence[int], lr: float | None
) -> tuple[list[SplitRows], str]:
    """Return what trains, tunes and tests, and that in words; nothing if a split is missing."""
    train, val, test = (split_rows(splits, split) for split in ("train", "val", "test"))
    tests = "test images"
    if lr is not None and not len(test):
        val, test, tests = test, val, "validation images, which chose nothing"
    if not (len(train) and len(test) and (len(val) or lr is not None)):
        return [], ""
    chooses = f"lr chosen on {len(val)} validation images" if lr is None else f"lr {lr:g}"
    words = f"{len(train)} training images; {chooses}; accuracy on {len(test)} {tests}"
    return [SplitRows(train, val, test, tuple(range(len(seeds))))], words
