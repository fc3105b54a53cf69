"""Result of a comparison: one row for each head, differences, and a summary in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tltool._csv_rows import write_rows
from tltool.comparison.variants import Variant
from tltool.evaluation.paired_differences import Difference, MeanEstimate, images_needed
from tltool.evaluation.score import ACCURACY, Score

ONE_POINT = 0.01
#: Columns of ``compare.csv`` that are not named as in `HeadResult`.
COLUMNS = {"lr": "learning_rate", "at_edge": "share_at_edge", "dead": "dead_units"}


@dataclass(frozen=True)
class HeadResult:
    """What one head came to, as means over seeds and folds at the chosen learning rate.

    Attributes:
        name: Name of the head.
        result: Its score on the test split: accuracy, mean average precision or mean absolute
            error.
        lr: The learning rate chosen most often.
        at_edge: Share of the choices that lay at the edge of the learning rates tried.
        num_parameters: Number of trained parameters.
        epochs_to_loss: Epochs until the training loss is as low as `Comparison.target_loss`, as the
            median over trainings; ``None`` if most never came there.
        sensitivity: Largest less smallest validation score over the first of the grid;
            ``None`` if the learning rate was fixed.
        dead: Share of hidden units that no image teaches anything, see `hidden_activity`.
        saturated: Share of pairs of image and hidden unit that are saturated.
        seconds: Time that one training took.
        warnings: Combinations in it that defeat themselves.
        train_losses: Training loss of each epoch.
        val_losses: Validation loss after each epoch; empty if the learning rate was fixed.
    """

    name: str
    result: MeanEstimate
    lr: float
    at_edge: float
    num_parameters: int
    epochs_to_loss: float | None
    sensitivity: float | None
    dead: float
    saturated: float
    seconds: float
    warnings: list[str]
    train_losses: list[float]
    val_losses: list[float]


@dataclass(frozen=True)
class Comparison:
    """What `compare_heads` returns.

    Attributes:
        variants: The heads, by name.
        reference: The name of the head that the others are compared with.
        rows: What each came to, in the same order.
        differences: To the reference, or of all pairs.
        per_image: Whether each image is right, or what else it contributes to the score, by name,
            ``(num_seeds, num_images)``.
        images: The rows of the features that `per_image` is about, ``(num_images,)``.
        protocol: In words, what was trained, chosen and reported on.
        target_loss: The training loss of `HeadResult.epochs_to_loss`.
        seeds: The seeds.
        score: What the heads are compared by.
    """

    variants: Mapping[str, Variant]
    reference: str
    rows: Sequence[HeadResult]
    differences: Sequence[Difference]
    per_image: Mapping[str, Tensor]
    images: Tensor
    protocol: str
    target_loss: float
    seeds: Sequence[int]
    score: Score = ACCURACY

    @property
    def findings(self) -> list[Difference]:
        """The differences that are beyond noise."""
        return [difference for difference in self.differences if difference.is_finding]

    @property
    def recommended(self) -> str:
        """The name of the best head that is beyond noise better than the reference, or its own."""
        better = [d for d in self.findings if d.reference == self.reference and d.gain > 0]
        best = max(better, key=lambda difference: difference.gain, default=None)
        return best.name if best else self.reference

    def row(self, name: str) -> HeadResult:
        """Return what one head came to."""
        return next(row for row in self.rows if row.name == name)

    def summary(self) -> str:
        """Return what was found in one or two sentences: the first thing to read."""
        if not self.differences:
            return "One head alone: there is nothing to compare it with."
        if not self.findings:
            return f"No difference beyond noise. {self._images_needed()}"
        found = sorted(self.findings, key=lambda d: -abs(d.estimate.mean))
        words = [
            f"{d.name} is {'better' if d.gain > 0 else 'worse'} than {d.reference} "
            f"({self.score.words(d.estimate.mean, '+')}, p {d.p_value:.2g})"
            for d in found[:3]
        ]
        more = f"; {len(found) - 3} more in the table" if len(found) > 3 else ""
        return f"Beyond noise: {'; '.join(words)}{more}."

    def _images_needed(self) -> str:
        largest = max(self.differences, key=lambda d: abs(d.estimate.mean))
        mean, num_images, num_seeds = largest.estimate.mean, len(self.images), len(self.seeds)
        point = ONE_POINT
        if self.score.smaller_is_better:  # A hundredth of the error of the reference.
            point *= abs(self.row(self.reference).result.mean) or 1.0
        what = f"one of {point:.2g}"
        if abs(mean) >= point:
            what = f"the largest one seen ({largest.name}, {self.score.words(mean, '+')})"
        effect = max(abs(mean), point)
        needed = images_needed(largest.estimate, effect, len(self.differences))
        if needed is None or needed <= num_images:  # Few seeds tell their own variance badly.
            here = f"here are {num_seeds}, on {num_images:,} images"
            return f"To see {what}, more seeds are needed rather than images: {here}."
        here = f"here are {num_images:,}"
        return f"To see {what}, about {needed:,} images would be needed; {here}."

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as plain data, as in ``compare.csv``."""
        of = {d.name: d for d in self.differences if d.reference == self.reference}
        return [
            _plain(row, self.variants[row.name], of.get(row.name), self.score) for row in self.rows
        ]

    def write_csv(self, path: str | Path) -> None:
        """Write the table to a file, whole or not at all."""
        rows = self.table()
        columns = dict.fromkeys(name for row in rows for name in row)
        write_rows(Path(path), list(columns), rows)


def _plain(
    row: HeadResult, variant: Variant, difference: Difference | None, score: Score
) -> dict[str, Any]:
    name = score.name.lower()
    plain = {"head": row.name, **variant.settings, **_estimate(name, row.result)}
    if difference is not None:
        plain |= _estimate("difference", difference.estimate) | {"p_holm": difference.p_value}
    left_out = {"name", "result", "train_losses", "val_losses"}
    shown = {name: value for name, value in vars(row).items() if name not in left_out}
    rest = {COLUMNS.get(name, name.removeprefix("num_")): shown[name] for name in shown}
    return plain | rest | {"warnings": " ".join(row.warnings)}


def _estimate(name: str, estimate: MeanEstimate) -> dict[str, float]:
    low, high = estimate.interval
    return {name: estimate.mean, f"{name}_low": low, f"{name}_high": high}
