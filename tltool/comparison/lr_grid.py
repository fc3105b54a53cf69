"""Grid of learning rates that each head chooses from."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FACTORS = (1 / 3, 1.0, 3.0)
WIDER = (3.0, 9.0)
"""Beyond an edge that was chosen, the grid goes on with these factors, once."""


class LRScore(NamedTuple):
    """How a learning rate did on the tuning split, as means over the seeds."""

    accuracy: float
    loss: float


def lr_grid(base: float) -> list[float]:
    """Return the learning rates around an optimizer's own.

    Example:
        >>> [f"{lr:.2g}" for lr in lr_grid(1e-3)]
        ['0.00033', '0.001', '0.003']
    """
    return [base * factor for factor in FACTORS]


def choose_lr(scores: Mapping[float, LRScore]) -> float:
    """Return the learning rate with the highest accuracy, among equals that with the least loss.

    Example:
        >>> choose_lr({0.1: LRScore(0.9, 0.4), 0.3: LRScore(0.9, 0.3), 1.0: LRScore(0.5, math.nan)})
        0.3
    """

    def key(lr: float) -> tuple[float, float]:
        score = scores[lr]
        return score.accuracy, -math.inf if math.isnan(score.loss) else -score.loss

    return max(scores, key=key)


def is_at_edge(lr: float, lrs: Sequence[float]) -> bool:
    """Return whether a better learning rate may lie beyond those that were tried."""
    return len(lrs) > 1 and lr in (min(lrs), max(lrs))


def wider_lrs(lr: float, lrs: Sequence[float]) -> list[float]:
    """Return the learning rates to try beyond the edge that was chosen; none if it lies inside.

    Example:
        >>> wider_lrs(3.0, [0.3, 1.0, 3.0])
        [9.0, 27.0]
    """
    if not is_at_edge(lr, lrs):
        return []
    return [lr * f if lr == max(lrs) else lr / f for f in WIDER]
