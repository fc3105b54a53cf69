"""Budget of charts: which metrics the W&B dashboard shows by itself, with which summary."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

# Charts that a dashboard has at most by itself; the rest is logged, and found by search.
MOST_CHARTS = 40
_MEDIA = 10  # Charts that `media` may add.
_ROOM = {"val": 8, "train": 4, "lr": 8, "health": 7, "others": MOST_CHARTS - _MEDIA - 27}
_AXES = {"epoch", "trainer/global_step"}
_BEST = {
    **dict.fromkeys(("accuracy", "top5_accuracy", "f1", "auroc"), "max"),
    **dict.fromkeys(("map", "f1_macro", "exact_match", "r2", "spearman", "kappa"), "max"),
    **dict.fromkeys(("loss", "calibration_error", "mae", "rmse"), "min"),
}


class Chart(NamedTuple):
    """How a metric is shown.

    Attributes:
        name: The metric; the part in front of its slash is the section.
        hidden: Whether it has no chart of its own.
        summary: What the table of runs says of it; ``None`` for the last value.
    """

    name: str
    hidden: bool
    summary: str | None


class ChartBudget:
    """Decide for each new metric whether there is room for a chart.

    Axes have none. Layer-wise learning rates alone may be fifty; of those that come at once, as
    many as there is room for are shown, evenly spread.

    Example:
        >>> budget = ChartBudget()
        >>> budget.charts(["val/loss", "epoch"])
        [Chart(name='val/loss', hidden=False, summary='min,last'),
         Chart(name='epoch', hidden=True, summary=None)]
        >>> budget.charts(["val/loss"])
        []
        >>> sum(not chart.hidden for chart in budget.charts([f"lr/{i}" for i in range(50)]))
        8
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._left = Counter(_ROOM)

    def charts(self, names: Iterable[str]) -> list[Chart]:
        """Return the charts of those metrics that are new."""
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        self._known.update(new)
        pools: dict[str, list[str]] = {}
        for name in new:
            section = name.partition("/")[0]
            if name not in _AXES:
                pools.setdefault(section if section in _ROOM else "others", []).append(name)
        shown: set[str] = set()
        for pool, found in pools.items():
            number = min(self._left[pool], len(found))
            self._left[pool] -= number
            last = max(number - 1, 1)
            shown.update(found[i * (len(found) - 1) // last] for i in range(number))
        return [Chart(name, name not in shown, _summary(name)) for name in new]


def _summary(name: str) -> str | None:
    section, _, metric = name.partition("/")
    # With the best alone, W&B takes the plain value away.
    return f"{_BEST[metric]},last" if section in {"val", "test"} and metric in _BEST else None
