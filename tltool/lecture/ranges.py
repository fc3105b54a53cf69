"""Ranges of a setting in which a network trains."""

import math
from collections.abc import Sequence

Range = tuple[float, float] | None
"""Lowest and highest value, or ``None`` where there is none."""

_TINY = 30
"""Decades below which a float of 32 bits has few digits left."""


def trained_range(values: Sequence[float], trains: Sequence[bool]) -> Range:
    """Return the ends of the widest run of neighboring values that train.

    Args:
        values: Positive and rising.
        trains: Whether each does.

    Example:
        >>> trained_range([0.01, 0.1, 1.0, 10.0], [True, False, True, True])
        (1.0, 10.0)
    """
    runs: list[list[float]] = [[]]
    for value, is_trained in zip(values, trains, strict=True):
        if is_trained:
            runs[-1].append(value)
        else:
            runs.append([])
    ends = [(run[0], run[-1]) for run in runs if run]
    return max(ends, key=lambda each: each[1] / each[0], default=None)


def top_of(values: Range) -> float:
    """Return the highest value, 0 where there is none."""
    return 0.0 if values is None else values[1]


def width_of(values: Range) -> float:
    """Return over how many decades a range goes: 0 for one value, -1 for none."""
    return -1.0 if values is None else math.log10(values[1] / values[0])


def decades_of(values: Sequence[float]) -> float:
    """Return over how many powers of ten values spread; ``inf`` if one is 0 or not finite.

    Example:
        >>> decades_of([0.1, 10.0, 1.0]), decades_of([0.0, 1.0])
        (2.0, inf)
    """
    if not all(0 < value < math.inf for value in values):
        return math.inf
    return math.log10(max(values) / min(values))


def describe_decades(number: float) -> str:
    """Say a number of decades.

    Example:
        >>> describe_decades(1.5), describe_decades(float("inf"))
        ('1.5 decades', 'over 30 decades')
    """
    return f"over {_TINY} decades" if number > _TINY else f"{number:.1f} decades"


def describe_range(values: Range, grid: Sequence[float]) -> str:
    """Say a range, and where it ends only because the grid does.

    Args:
        values: The range.
        grid: All values that were tried.

    Example:
        >>> describe_range((0.1, 10.0), [0.1, 1.0, 10.0, 100.0]), describe_range((1.0, 1.0), [1.0])
        ('0.1 (or less) to 10', '1 alone')
        >>> describe_range(None, [1.0])
        'none'
    """
    if values is None:
        return "none"
    low, high = values
    if low == high:
        return f"{low:g} alone"
    below = " (or less)" if low == min(grid) else ""
    above = " (or more)" if high == max(grid) else ""
    return f"{low:g}{below} to {high:g}{above}"
