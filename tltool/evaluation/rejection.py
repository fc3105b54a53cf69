"""Rejection of unsure predictions: risk over coverage, and the threshold for a target risk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.special import betaincinv
from torch import Tensor

MOST_POINTS = 200
"""Points of a curve that is kept."""

_CHANCE = 0.05  # That the risk is above the target all the same.
_NUM_TRIED = 20  # coverages, among which a threshold is chosen


@dataclass(frozen=True)
class RejectionCurve:
    """How often the surer predictions of a network are wrong.

    Attributes:
        thresholds: Confidences from which on a prediction is accepted, the highest first.
        num_accepted: How many images are accepted at each.
        num_errors: How many of these are wrong.
    """

    thresholds: list[float]
    num_accepted: list[int]
    num_errors: list[int]

    @property
    def coverage(self) -> list[float]:
        """The share of images that is accepted at each threshold."""
        return [number / self.num_accepted[-1] for number in self.num_accepted]

    @property
    def risk(self) -> list[float]:
        """The share of the accepted ones that is wrong."""
        return [e / n for e, n in zip(self.num_errors, self.num_accepted, strict=True)]

    @property
    def area(self) -> float:
        """The mean risk over all coverages (AURC, Geifman et al., 2019)."""
        steps = zip([0.0, *self.coverage], self.coverage, self.risk, strict=False)
        return sum((high - low) * risk for low, high, risk in steps)

    def at_coverage(self, coverage: float) -> int:
        """Return the point that accepts the least share of images that is not below ``coverage``.

        Example:
            >>> RejectionCurve([0.9, 0.6], [3, 4], [0, 1]).at_coverage(0.75)
            0
        """
        return next(at for at, share in enumerate(self.coverage) if share >= coverage - 1e-9)

    def threshold_for(self, risk: float) -> float:
        """Return the threshold below which to reject, so that the rest is wrong at most so often.

        For images of the same kind, with 95 % confidence: of twenty coverages the largest whose
        risk is shown to be below the target, each by a binomial bound for a twentieth of the chance
        of error. After Geifman & El-Yaniv, 2017, https://arxiv.org/abs/1705.08500.

        Args:
            risk: The share of wrong predictions among the accepted ones, in ``(0, 1)``.

        Raises:
            ValueError: If the images are too few, or too often predicted wrong, to show that.

        Example:
            >>> right = torch.arange(1000) < 900  # The least sure tenth is wrong.
            >>> rejection_curve(torch.linspace(1, 0.5, 1000), right).threshold_for(0.05)
            0.55...
        """
        if not 0 < risk < 1:
            raise ValueError(f"The target risk must be between 0 and 1, got {risk}.")
        points = [self.at_coverage(1 - step / _NUM_TRIED) for step in range(_NUM_TRIED)]
        bounds = [self._bound(point) for point in points]
        for point, bound in zip(points, bounds, strict=True):
            if bound <= risk:
                return self.thresholds[point]
        raise ValueError(
            f"No threshold shows a risk of {risk:g} on {self.num_accepted[-1]:,} validation "
            f"images; the lowest that can be shown is {min(bounds):.3f}. Give a larger one, or a "
            "threshold of your own by --reject_below."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "RejectionCurve":
        """Return the curve of a `state_dict`."""
        return cls(**state)

    def _bound(self, point: int) -> float:
        """Return what the risk exceeds by chance alone (Clopper & Pearson, 1934)."""
        errors, accepted = self.num_errors[point], self.num_accepted[point]
        if errors == accepted:
            return 1.0
        return float(betaincinv(errors + 1, accepted - errors, 1 - _CHANCE / _NUM_TRIED))


def rejection_curve(confidence: Tensor, correct: Tensor) -> RejectionCurve:
    """Return the curve of risk over coverage, of at most `MOST_POINTS` thresholds.

    Images of the same confidence are accepted together.

    Args:
        confidence: The probability of each predicted class, ``(N,)``.
        correct: Whether each is right, ``(N,)``.

    Example:
        >>> rejection_curve(torch.tensor([0.5, 0.75, 0.5]), torch.tensor([False, True, True]))
        RejectionCurve(thresholds=[0.75, 0.5], num_accepted=[1, 3], num_errors=[0, 1])
    """
    ordered, order = confidence.double().sort(descending=True)
    errors = (~correct[order]).cumsum(0)
    is_last = torch.ones_like(ordered, dtype=torch.bool)
    is_last[:-1] = ordered[:-1] != ordered[1:]
    places = is_last.nonzero()[:, 0]
    if len(places) > MOST_POINTS:
        evenly = torch.linspace(0, len(places) - 1, MOST_POINTS).round().long()
        places = places[evenly]
    return RejectionCurve(ordered[places].tolist(), (places + 1).tolist(), errors[places].tolist())
