"""Advice on the fine-tuning strategy: how much data, how like those of the pretraining?

The table is that of CS231n (https://cs231n.github.io/transfer-learning/), with cells from
measurements (`scripts/benchmark/advice.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tltool.diagnostics.advice.layer_probes import LayerProbes
from tltool.diagnostics.advice.learning_curve import LearningCurve
from tltool.finetuning.strategies import FinetuningStrategy, FullFinetuning, LastBlocks, LinearProbe

Amount = Literal["few", "more"]
Likeness = Literal["like", "unlike"]

FEW_PER_CLASS = 20
"""With fewer images of a class the head alone has enough to learn."""

FLAT = 0.02
"""A learning curve that surely rises less than this in a doubling is flat: images are enough."""

MEASURED_PER_CLASS = 300
"""The most images of a class with which strategies were measured."""

FEW_VALIDATION = 100
"""With fewer of them an accuracy has a standard error of up to .05 and more."""

TABLE: Mapping[tuple[Likeness, Amount], FinetuningStrategy] = {
    ("like", "few"): LinearProbe(),
    ("like", "more"): LastBlocks(1),
    ("unlike", "few"): LastBlocks(1),  # on the layer that serves best
    ("unlike", "more"): FullFinetuning(),
}


@dataclass(frozen=True)
class Advice:
    """A strategy, with what speaks for it and against it.

    Attributes:
        likeness: Whether the data is like the pretraining's.
        amount: Whether there are many images.
        strategy: What to train when.
        stop_at: The layer to put the head on; ``None`` for the last one.
        reasons: Sentences with numbers.
        doubts: Sentences.
        alternative: What is cheaper and nearly as good, in a sentence; ``None`` for nothing.
    """

    likeness: Likeness
    amount: Amount
    strategy: FinetuningStrategy
    stop_at: str | None
    reasons: list[str]
    doubts: list[str]
    alternative: str | None = None

    def as_config(self) -> dict[str, Any]:
        """Return what it changes in a configuration of ``fit``, as plain data.

        Example:
            >>> Advice("unlike", "few", LinearProbe(), "layer2", [], []).as_config()
            {'model': {'backbone': {'stop_at': 'layer2'}}, 'finetuning': 'LinearProbe'}
        """
        stop = {"model": {"backbone": {"stop_at": self.stop_at}}} if self.stop_at else {}
        return {**stop, "finetuning": type(self.strategy).__name__}  # with its defaults


def advise(
    probes: LayerProbes, curve: LearningCurve, class_counts: Sequence[int], *, majority: float
) -> Advice:
    """Place the data in the table and return the advice of its cell.

    Args:
        probes: A probe on each layer.
        curve: The learning curve of a probe on the whole network.
        class_counts: Number of training images of each class.
        majority: Accuracy of always saying the most frequent class, on the evaluation images.

    Example:
        >>> import torch
        >>> right, wrong = torch.ones(100, dtype=torch.bool), torch.zeros(100, dtype=torch.bool)
        >>> probes = LayerProbes({"layer1": right, "whole network": wrong})
        >>> curve = LearningCurve([20], wrong[None].double(), [[0.0]])
        >>> advise(probes, curve, [10, 10], majority=0.5).stop_at
        'layer1'
    """
    per_class = sum(class_counts) / len(class_counts)
    slope = curve.slope
    is_flat = slope is not None and slope.mean + 2 * slope.standard_error < FLAT
    amount: Amount = "few" if per_class < FEW_PER_CLASS and not is_flat else "more"
    likeness: Likeness = "unlike" if probes.gap.is_positive else "like"
    stop_at = probes.best if (likeness, amount) == ("unlike", "few") else None
    return Advice(
        likeness,
        amount,
        TABLE[likeness, amount],
        stop_at,
        [_how_much(class_counts, curve, is_flat), _how_like(probes)],
        list(_doubts(probes, class_counts, majority)),
        None if likeness == "like" or stop_at else _head_on(probes),
    )


def _head_on(probes: LayerProbes) -> str:
    layer = probes.best
    return (
        f"--finetuning LinearProbe --model.backbone.stop_at {layer}: a probe on {layer} "
        f"({probes.accuracies[layer]}) takes no training of the backbone."
    )


def _how_much(class_counts: Sequence[int], curve: LearningCurve, is_flat: bool) -> str:
    spread = f"{min(class_counts):,} to {max(class_counts):,}"
    if min(class_counts) == max(class_counts):
        spread = f"{class_counts[0]:,}"
    words = f"{spread} images of a class"
    if curve.slope is None:
        return f"{words}, too few for a learning curve."
    flat = ", so the curve is flat" if is_flat else ""
    return f"{words}; the last doubling brought a probe {signed(curve.slope)}{flat}."


def _how_like(probes: LayerProbes) -> str:
    if len(probes.correct) == 1:
        return "This backbone cannot be stopped early, so only its last layer was probed."
    accuracies = probes.accuracies
    last = f"the {probes.last} ({accuracies[probes.last]})"
    if probes.best == probes.last:
        return f"No earlier layer serves a probe better than {last}."
    verb = "serves" if probes.gap.is_positive else "seems to serve"
    return (
        f"{probes.best} {verb} a probe better than {last}, by {signed(probes.gap)}: the images are "
        + ("unlike those of the pretraining." if probes.gap.is_positive else "like enough.")
    )


def _doubts(probes: LayerProbes, class_counts: Sequence[int], majority: float) -> Sequence[str]:
    num_val = len(probes.correct[probes.last])
    best = probes.accuracies[probes.best]
    found = []
    if num_val < FEW_VALIDATION:
        found.append(f"{num_val} validation images are few: every number here is rough.")
    if probes.best != probes.last and not probes.gap.is_positive:
        found.append(
            f"The lead of {probes.best} is within two standard errors; try it with "
            f"--model.backbone.stop_at {probes.best}."
        )
    if best.mean - majority < 2 * best.standard_error:
        found.append(
            f"No probe is better than always saying the most frequent class ({majority:.3f}) "
            "beyond noise: look at the labels, or at another backbone."
        )
    if len(probes.correct) == 1:
        found.append("Whether the images are like those of the pretraining is not known.")
    if sum(class_counts) / len(class_counts) > MEASURED_PER_CLASS:
        found.append(
            f"Strategies were measured with at most {MEASURED_PER_CLASS} images of a class: with "
            "more, try FullFinetuning too."
        )
    if min(class_counts) * 10 < max(class_counts):
        found.append("Classes differ more than tenfold in size; accuracy hides the small ones.")
    return found


def signed(value: object) -> str:
    """Return an estimate with its sign."""
    text = str(value)
    return text if text.startswith("-") else f"+{text}"
