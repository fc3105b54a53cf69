"""A race: the epochs of networks to a training loss, each at its fastest learning rate."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tltool.comparison.head_stack import TrainedHead
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.table import Each, Row, groups
from tltool.lecture.training import choose_lrs, finite

# The cap is there because one that diverges would press the others flat.
LOSSES = ClaimPanel("epoch", "training_loss", "name", log="y", level="target", cap=30.0)
"""The panel of a race; the target is a gray line."""


@dataclass(frozen=True)
class Racer:
    """How fast a network reached a training loss.

    Args:
        epochs: The epochs that each seed took; ``inf`` where it did not reach it.
        limit: The epochs that it had.

    Example:
        >>> relu, tanh = Racer([1.5, 1.5, 2.0], 5), Racer([3.0, math.inf, math.inf], 5)
        >>> f"{relu}, {tanh}, {tanh.times(relu)}, {relu.times(tanh)}"
        '1.5, more than 5, more than 3.3, less than 0.3'
    """

    epochs: Sequence[float]
    limit: int

    def __str__(self) -> str:
        return f"{self.median:.1f}" if self.reached else f"more than {self.limit}"

    @property
    def median(self) -> float:
        """The median over seeds."""
        return statistics.median(self.epochs)

    @property
    def reached(self) -> bool:
        """Whether most seeds reach the loss."""
        return math.isfinite(self.median)

    def ratio(self, other: "Racer") -> float:
        """Return how many times the epochs of another it takes.

        Where one of the two does not reach the loss, its last epoch stands for it.
        """
        mine, others = (each.median if each.reached else each.limit for each in (self, other))
        return mine / others

    def times(self, other: "Racer") -> str:
        """Return the ratio to another as text, with what is known of it."""
        if not self.reached and not other.reached:
            return "unknown"
        bound = "more than " if not self.reached else "" if other.reached else "less than "
        return f"{bound}{self.ratio(other):.2g}"

    def is_slower(self, other: "Racer", factor: float) -> bool:
        """Return whether it takes a factor more epochs than another, and more for any two seeds.

        Args:
            other: The faster one; where it does not reach the loss, nothing is slower.
            factor: By how much the medians differ.
        """
        return min(self.epochs) > max(other.epochs) and self.ratio(other) >= factor


def race(rows: Sequence[Row], target: float) -> list[Row]:
    """Return each network at the learning rate that brings it to a loss first.

    Args:
        rows: Those of `train_grid`.
        target: The training loss to reach.

    Returns:
        Their rows with the columns ``target``, ``epochs_to_target``, ``inf`` where it is not
        reached, and ``training_loss`` as a list over the epochs.
    """

    def cost(run: TrainedHead) -> float:
        epochs, losses = epochs_to(target, run.train_losses), run.train_losses
        return epochs if math.isfinite(epochs) else len(losses) + finite(losses[-1])

    found = []
    for row in choose_lrs(rows, cost):
        losses = row["run"].train_losses
        reached = {"target": target, "epochs_to_target": epochs_to(target, losses)}
        found.append(row | reached | {"training_loss": losses})
    return found


def racers(rows: Sequence[Row]) -> Each:
    """Return the `Racer` of each name in the rows of `race`."""
    return Each(
        {
            name: Racer([row["epochs_to_target"] for row in each], len(each[0]["training_loss"]))
            for name, each in groups(rows, "name").items()
        }
    )


def epochs_to(target: float, losses: Sequence[float]) -> float:
    """Return after how many epochs a loss is at most a target, between epochs by a straight line.

    Args:
        target: The loss to reach.
        losses: The loss after each epoch.

    Returns:
        ``inf`` if it is never reached.

    Example:
        >>> epochs_to(0.75, [2.0, 1.0, 0.5]), epochs_to(0.1, [2.0, 1.0])
        (2.5, inf)
    """
    for epoch, loss in enumerate(losses):
        if loss <= target:
            before = losses[epoch - 1] if epoch else math.nan
            share = (before - target) / (before - loss) if before > target else 1.0
            return epoch + share
    return math.inf
