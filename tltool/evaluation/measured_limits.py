"""How prediction sets and the score of unknown inputs do on labeled images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tltool.evaluation.prediction_sets import SetCounts, prediction_sets

COVERAGES = (0.8, 0.9, 0.95)
"""Those that are measured."""


@dataclass(frozen=True)
class MeasuredLimits:
    """What was counted over the images of a split.

    Attributes:
        sets: For each coverage that was asked, the counts of its sets.
        too_few: Coverages that too few images could promise.
        num_unknown: Images that were called unknown.
        rests_on: What the thresholds rest on, in words.
        num_shared: Images that have set the thresholds themselves, on which the coverage is as
            asked in any case.
    """

    sets: dict[float, SetCounts]
    too_few: Sequence[float]
    num_unknown: int
    num_images: int
    rests_on: str
    num_shared: int

    @property
    def unknown_share(self) -> float:
        """The share of images that were called unknown, though their class is known."""
        return self.num_unknown / self.num_images

    def sentences(self) -> list[str]:
        """Return what the numbers rest on, and where they promise more than they hold."""
        found = [
            f"{100 * self.unknown_share:.1f} % of these images, whose classes are known, are "
            f"called unknown. The thresholds rest on {self.rests_on}."
        ]
        if self.num_shared:
            found.append(
                f"{self.num_shared:,} of these images are among them: on these the coverage is as "
                "asked in any case, and only sizes and classes say anything."
            )
        if self.too_few:
            names = ", ".join(f"{each:g}" for each in self.too_few)
            found.append(f"Too few images set the thresholds for a coverage of {names}.")
        return found


class LimitCounter:
    """Count sets and unknown images batch by batch.

    Args:
        thresholds: For each asked coverage those of the classes, ``(num_classes,)``.
        num_classes: Number of classes.
    """

    def __init__(self, thresholds: dict[float, Tensor], num_classes: int) -> None:
        self.thresholds = thresholds
        self.sets = torch.zeros(len(thresholds), 4, num_classes, dtype=torch.float64)
        self.unknown = torch.zeros((), dtype=torch.float64)
        self.images = torch.zeros((), dtype=torch.float64)

    def add(self, probabilities: Tensor, is_unknown: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        counts = [
            torch.stack(SetCounts.of(prediction_sets(probabilities, thresholds), labels))
            for thresholds in self.thresholds.values()
        ]
        self.sets += torch.stack(counts)
        self.unknown += is_unknown.sum().cpu()
        self.images += len(labels)

    def counts(self) -> tuple[dict[float, SetCounts], int, int]:
        """Return the counts of the sets, of unknown images, and of all images."""
        sets = {
            asked: SetCounts(*row) for asked, row in zip(self.thresholds, self.sets, strict=True)
        }
        return sets, int(self.unknown), int(self.images)
