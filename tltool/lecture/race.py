"""A race: the epochs of networks to a training loss, each at its fastest learning rate."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tltool.comparison.head_stack import TrainedHead
from tltool.lecture.experiment import require
from tltool.lecture.pictures import Panel
from tltool.lecture.table import Each, Row, groups
from tltool.lecture.training import choose_lrs

_TARGET = "training loss (gray: target)"
# The cap is there because one that diverges would press the others flat.
LOSSES = Panel("epoch", "training_loss", "name", "", _TARGET, log="y", level="target", cap=30.0)
"""The panel of a race."""


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
        rows: Those of `train_networks`.
        target: The training loss to reach.

    Returns:
        Their rows with the columns ``target``, ``epochs_to_target``, ``inf`` where it is not
        reached, and ``training_loss`` as a list over the epochs.
    """
    rows = choose_lrs(rows, cost_of_reaching(target))
    found = [row | {"target": target, "training_loss": row["run"].train_losses} for row in rows]
    return [row | {"epochs_to_target": epochs_to(target, row["training_loss"])} for row in found]


def racers(rows: Sequence[Row]) -> Each:
    """Return the `Racer` of each name in the rows of `race`."""
    found = Each()
    for name, each in groups(rows, "name").items():
        epochs = [row["epochs_to_target"] for row in each]
        found[name] = Racer(epochs, len(each[0]["training_loss"]))
    return found


def cost_of_reaching(target: float) -> Callable[[TrainedHead], float]:
    """Return a cost of a training: the epochs to a loss, or all of them and what is left of it.

    Args:
        target: The loss to reach.
    """

    def cost(run: TrainedHead) -> float:
        epochs = epochs_to(target, run.train_losses)
        return epochs if math.isfinite(epochs) else len(run.train_losses) + run.train_losses[-1]

    return cost


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


def loss_to_reach(share: float, num_classes: int) -> float:
    """Return a share of the loss of a network that says the same of all classes.

    Args:
        share: In ``(0, 1)``.
        num_classes: Number of classes.

    Example:
        >>> round(loss_to_reach(0.1, 10), 2)
        0.23
    """
    return share * math.log(num_classes)


def check_race(*, lrs: Sequence[float], seeds: int, target: float) -> None:
    """Refuse settings of a race that has no result.

    Raises:
        ValueError: If there is no learning rate or no seed, or the target is not in ``(0, 1)``.
    """
    above = "`lrs` must be learning rates above 0"
    require(lrs and min(lrs) > 0, f"{above}, got {list(lrs)}. For example [0.01, 0.1].")
    require(seeds >= 1, f"`seeds` must be at least 1, got {seeds}. 3 show the spread.")
    require(
        0 < target < 1,
        f"`target` is a share of the loss of guessing and must be in (0, 1), got {target}. 0.1 is "
        "what the lecture's page uses.",
    )
