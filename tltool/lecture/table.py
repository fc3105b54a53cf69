"""Rows of an experiment: selected, averaged, put into words, and as the table of a CSV file."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tltool.evaluation.paired_differences import MeanEstimate

Row = dict[str, Any]
"""What belongs to one network: numbers, lists over layers or epochs, and what no table holds."""


class Each(dict[Any, Any]):
    """Values by name that are written as a list, each in the format given.

    Example:
        >>> f"{Each(relu=0.5, tanh=1 / 3):.2f}; {Each()}"
        'relu 0.50, tanh 0.33; none'
    """

    def __format__(self, spec: str) -> str:
        return ", ".join(f"{name} {value:{spec}}" for name, value in self.items()) or "none"


def where(rows: Iterable[Row], **values: Any) -> list[Row]:
    """Return the rows that have these values.

    Example:
        >>> where([{"depth": 2, "seed": 0}, {"depth": 8, "seed": 0}], depth=8)
        [{'depth': 8, 'seed': 0}]
    """
    return [row for row in rows if all(row.get(name) == value for name, value in values.items())]


def groups(rows: Iterable[Row], column: str) -> dict[Any, list[Row]]:
    """Return the rows by their value in a column, in the order in which values first occur."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def means(rows: Iterable[Row], column: str, *, by: str) -> Each:
    """Return the mean of a column by the value in another.

    Example:
        >>> means([{"name": "a", "loss": 1.0}, {"name": "a", "loss": 2.0}], "loss", by="name")
        {'a': 1.5}
    """
    grouped = groups(rows, by).items()
    return Each({name: statistics.fmean(row[column] for row in each) for name, each in grouped})


def grid(rows: Iterable[Row], column: str, *, by: str) -> Tensor:
    """Return a column as ``(V, S)``: by the values of another one, and by seed."""
    values = [[row[column] for row in each] for each in groups(rows, by).values()]
    return torch.tensor(values, dtype=torch.float64)


def stack(rows: Iterable[Row], column: str = "correct") -> Tensor:
    """Return a column of tensors ``(N,)``, one for each seed, as ``(S, N)``."""
    return torch.stack([row[column] for row in rows]).double()


def half_width(estimate: MeanEstimate) -> float:
    """Return half the width of the 95 % confidence interval."""
    low, high = estimate.interval
    return (high - low) / 2


def points(estimate: MeanEstimate, sign: int = 1) -> str:
    """Return a difference of accuracy in percentage points, with its 95 % interval.

    Args:
        estimate: The difference.
        sign: -1 to turn it round.
    """
    mean = 0.0 + 100 * sign * estimate.mean  # 0.0, for there is a -0.0.
    return f"{mean:+.1f} points (+- {100 * half_width(estimate):.1f})"


def flat_table(rows: Sequence[Row], index: str) -> Iterator[Row]:
    """Yield rows of numbers and text alone: lists of one row become rows, all else is left out.

    Args:
        rows: The rows; the lists of one row are equally long.
        index: Name of the column that counts the items of lists, from 1.

    Example:
        >>> list(flat_table([{"seed": 0, "loss": [2.0, 1.0], "state": {}}], "epoch"))
        [{'seed': 0, 'epoch': 1, 'loss': 2.0}, {'seed': 0, 'epoch': 2, 'loss': 1.0}]
    """
    for row in rows:
        plain = {k: v for k, v in row.items() if v is None or isinstance(v, str | int | float)}
        lists = {name: value for name, value in row.items() if isinstance(value, list)}
        if not lists:
            yield plain
        for place, values in enumerate(zip(*lists.values(), strict=True), start=1):
            yield plain | {index: place} | dict(zip(lists, values, strict=True))
