"""Advice on the fine-tuning strategy: how much data, how like those of the pretraining?

The table is that of CS231n (https://cs231n.github.io/transfer-learning/), with cells from
measurements (`scripts/benchmark/advice.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tltool.diagnostics.advice.layer_probes import LayerProbes
from tltool.diagnostics.advice.learning_curve import LearningCurve
from tltool.diagnostics.advice.measured_gains import expected_gain
from tltool.finetuning.strategies import FinetuningStrategy, FullFinetuning, LastBlocks, LinearProbe

Amount = Literal["few", "more"]
Likeness = Literal["like", "unlike"]

#: With fewer images of a class the head alone has enough to learn.
FEW_PER_CLASS = 20

#: A learning curve that surely rises less than this in a doubling is flat: images are enough.
FLAT = 0.02

#: The most images of a class with which strategies were compared: 600 solar cells of two classes
#: (e188eb9). `tltool fit` alone was measured with up to 500, see `measured_gains`.
MEASURED_PER_CLASS = 300

#: With fewer of them an accuracy has a standard error of up to .05 and more.
FEW_VALIDATION = 100

RULE = (
    f"Fewer than {FEW_PER_CLASS} images of a class are few, unless the learning curve is flat. "
    "They are unlike those of the pretraining where an earlier layer serves a probe better by more "
    "than two standard errors. Where a probe is right on all images, the head alone trains."
)
"""What decides on the cell of the table."""
#: `scripts/benchmark/advice.py`, 341bda9: the backbone at the full learning rate, a warmup of .1.
RECORD = (
    "Over 7 cases what the rule names lost 0.007 of accuracy on average to the best strategy, "
    "0.033 at most, at former defaults of the strategies; it was made with some of them."
)
"""How good the rule is."""

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
        expected: What fine-tuning is worth, in a sentence, see `expected_gain`.
    """

    likeness: Likeness
    amount: Amount
    strategy: FinetuningStrategy
    stop_at: str | None
    reasons: list[str]
    doubts: list[str]
    alternative: str | None = None
    expected: str = ""


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
    alternative = None
    if likeness == "unlike" and not stop_at:
        accuracy = probes.accuracies[probes.best]
        alternative = (
            f"--finetuning LinearProbe --model.backbone.stop_at {probes.best}: a probe on "
            f"{probes.best} ({accuracy}) takes no training of the backbone."
        )
    reasons = [_how_much(class_counts, curve, is_flat), _how_like(probes)]
    is_perfect = bool(probes.correct[probes.last].all())
    if is_perfect:
        num_images = len(probes.correct[probes.last])
        reasons.append(f"The probe is right on all {num_images} images, so the head alone will do.")
    strategy = LinearProbe() if is_perfect else TABLE[likeness, amount]
    doubts = _doubts(probes, class_counts, majority, strategy)
    expected = expected_gain(per_class, probes.accuracies[probes.last].mean)
    return Advice(likeness, amount, strategy, stop_at, reasons, doubts, alternative, expected)


def _how_much(class_counts: Sequence[int], curve: LearningCurve, is_flat: bool) -> str:
    spread = " to ".join(f"{count:,}" for count in sorted({min(class_counts), max(class_counts)}))
    if curve.slope is None:
        return f"{spread} images of a class, too few for a learning curve."
    gain = signed(curve.slope) + (", so the curve is flat" if is_flat else "")
    return f"{spread} images of a class; the last doubling brought a probe {gain}."


def _how_like(probes: LayerProbes) -> str:
    if len(probes.correct) == 1:
        return "This backbone cannot be stopped early, so only its last layer was probed."
    last = f"the {probes.last} ({probes.accuracies[probes.last]})"
    if probes.best == probes.last:
        return f"No earlier layer serves a probe better than {last}."
    verb, images = "seems to serve", "like enough."
    if probes.gap.is_positive:
        verb, images = "serves", "unlike those of the pretraining."
    lead = signed(probes.gap)
    return f"{probes.best} {verb} a probe better than {last}, by {lead}: the images are {images}"


def _doubts(
    probes: LayerProbes,
    class_counts: Sequence[int],
    majority: float,
    strategy: FinetuningStrategy,
) -> list[str]:
    num_val = len(probes.correct[probes.last])
    name, best = probes.best, probes.accuracies[probes.best]
    is_unsure = name != probes.last and not probes.gap.is_positive
    is_useless = best.mean - majority < 2 * best.standard_error
    is_large = sum(class_counts) / len(class_counts) > MEASURED_PER_CLASS
    is_uneven = min(class_counts) * 10 < max(class_counts)
    doubts = {
        f"{num_val} validation images are few: all numbers are rough.": num_val < FEW_VALIDATION,
        f"The lead of {name} is within noise; try --model.backbone.stop_at {name}.": is_unsure,
        f"No probe is better than always saying the most frequent class ({majority:.3f}) beyond "
        "noise: look at the labels, or at another backbone.": is_useless,
        "Whether the images are like the pretraining's is not known.": len(probes.correct) == 1,
        f"Strategies were compared with at most {MEASURED_PER_CLASS} images of a class: with more, "
        "try FullFinetuning too.": is_large and not isinstance(strategy, FullFinetuning),
        "Classes differ more than tenfold in size; accuracy hides the small ones.": is_uneven,
    }
    return [doubt for doubt, holds in doubts.items() if holds]


def signed(value: object) -> str:
    """Return an estimate with its sign."""
    text = str(value)
    return text if text.startswith("-") else f"+{text}"
