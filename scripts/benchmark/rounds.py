"""Measurements in turn: round after round, so that a machine that slows down slows all of them."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

ROUNDS = 3


def in_turn(
    measures: Mapping[str, Callable[[], T]],
    *,
    rounds: int = ROUNDS,
    show: Callable[[T], str] = "{:.2f}".format,
) -> dict[str, list[T]]:
    """Return what each thing measured in each round, and show it on the way.

    Args:
        measures: Measure one thing, by name.
        rounds: How often each.
        show: Makes a text of a measurement.
    """
    found: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
            print(f"{name:<20} {show(found[name][-1])}", file=sys.stderr, flush=True)
    return found


def median_ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """Return the median of the ratios of the same round."""
    return statistics.median(one / two for one, two in zip(own, other, strict=True))
