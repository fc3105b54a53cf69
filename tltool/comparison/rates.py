"""The learning rates that each head may choose from."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FACTORS = (1 / 3, 1.0, 3.0)
WIDER = (3.0, 9.0)
"""Beyond an edge that was chosen, the grid goes on with these factors, once."""


class Score(NamedTuple):
    """How a rate did on the photos that choose, as means over the seeds."""

    accuracy: float
    loss: float


def rate_grid(base: float) -> list[float]:
    """Return the rates around an optimizer's own.

    Example:
        >>> [f"{rate:.2g}" for rate in rate_grid(1e-3)]
        ['0.00033', '0.001', '0.003']
    """
    return [base * factor for factor in FACTORS]


def choose_rate(scores: Mapping[float, Score]) -> float:
    """Return the rate with the highest accuracy, and among equals that with the least loss.

    Example:
        >>> choose_rate({0.1: Score(0.9, 0.4), 0.3: Score(0.9, 0.3), 1.0: Score(0.5, math.nan)})
        0.3
    """

    def key(rate: float) -> tuple[float, float]:
        score = scores[rate]
        return score.accuracy, -math.inf if math.isnan(score.loss) else -score.loss

    return max(scores, key=key)


def is_at_edge(rate: float, rates: Sequence[float]) -> bool:
    """Return whether a better rate may lie beyond those that were tried."""
    return len(rates) > 1 and rate in (min(rates), max(rates))


def wider_rates(rate: float, rates: Sequence[float]) -> list[float]:
    """Return the rates to try beyond the edge that a choice lies on; none if it lies inside.

    Example:
        >>> wider_rates(3.0, [0.3, 1.0, 3.0])
        [9.0, 27.0]
    """
    if not is_at_edge(rate, rates):
        return []
    return [rate * f if rate == max(rates) else rate / f for f in WIDER]
