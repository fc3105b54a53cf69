"""A race: after how many epochs networks reach a training loss, each at a rate tuned for that."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tltool.comparison.head_stack import Trained
from tltool.lecture.pictures import draw_series
from tltool.lecture.training import Tuned, epochs_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Racer:
    """How the training loss of a network fell, at the rate that brought it to the target first.

    Args:
        name: What it is.
        rate: The learning rate.
        at_edge: Whether the rate is the lowest or highest of the grid.
        losses: Mean loss of the batches of each epoch, for each seed.
        target: The loss to reach.

    Example:
        >>> relu = Racer("relu", 0.1, False, [[2.0, 1.0], [2.0, 1.0]], target=1.5)
        >>> tanh = Racer("tanh", 0.1, False, [[3.0, 2.0], [3.0, 2.0]], target=1.5)
        >>> relu.median, tanh.shown, tanh.times(relu)
        (1.5, 'more than 2', 'more than 1.3')
    """

    name: str
    rate: float
    at_edge: bool
    losses: Sequence[Sequence[float]]
    target: float

    @property
    def epochs(self) -> list[float]:
        """The epochs to the target of each seed; ``inf`` where it is not reached."""
        return [epochs_to(self.target, each) for each in self.losses]

    @property
    def median(self) -> float:
        """The median over seeds."""
        return statistics.median(self.epochs)

    @property
    def reached(self) -> bool:
        """Whether most seeds reach the target."""
        return math.isfinite(self.median)

    @property
    def shown(self) -> str:
        """The median, as text."""
        return f"{self.median:.1f}" if self.reached else f"more than {len(self.losses[0])}"

    def ratio(self, other: "Racer") -> float:
        """Return how many times the epochs of another it takes.

        Where one of the two does not reach the target, its last epoch stands for it.
        """
        mine, others = (
            racer.median if racer.reached else len(racer.losses[0]) for racer in (self, other)
        )
        return mine / others

    def times(self, other: "Racer") -> str:
        """Return the ratio to another as text, with what is known of it."""
        if not self.reached and not other.reached:
            return "unknown"
        bound = "" if self.reached and other.reached else "less than "
        bound = bound if self.reached else "more than "
        return f"{bound}{self.ratio(other):.2g}"

    def is_slower(self, other: "Racer", factor: float) -> bool:
        """Return whether it takes a factor more epochs than another, and so for any two seeds.

        Args:
            other: The faster one; where it does not reach the target, nothing is slower.
            factor: By how much the medians differ.
        """
        apart = min(self.epochs) > max(other.epochs)
        return apart and self.ratio(other) >= factor


def race(tuned: Mapping[str, Tuned], target: float) -> dict[str, Racer]:
    """Return how fast each network came to a loss.

    Args:
        tuned: Networks at the rate that `cost_of_reaching` chose, by name.
        target: The loss.
    """
    return {
        name: Racer(name, each.rate, each.at_edge, [run.train_losses for run in each.runs], target)
        for name, each in tuned.items()
    }


def cost_of_reaching(target: float) -> Callable[[Trained], float]:
    """Return a cost for `tune`: the epochs to a loss; if all are too few, what is left of the loss.

    Args:
        target: The loss to reach.
    """

    def cost(run: Trained) -> float:
        epochs = epochs_to(target, run.train_losses)
        return epochs if math.isfinite(epochs) else len(run.train_losses) + run.train_losses[-1]

    return cost


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


def draw_race(axes: "Axes", racers: Sequence[Racer]) -> None:
    """Draw each one's loss over the epochs, and the target as a line.

    Args:
        axes: Where.
        racers: One at least, all with one target.
    """
    target = racers[0].target
    for number, racer in enumerate(racers):
        epochs = range(1, len(racer.losses[0]) + 1)
        draw_series(
            axes, epochs, racer.losses, label=racer.name, number=number, markers=len(epochs) < 2
        )
    axes.axhline(target, color="0.3", linewidth=0.8)
    axes.annotate(
        "target", (1.0, target), xycoords=("axes fraction", "data"), ha="right", va="bottom",
        fontsize=8, color="0.3",
    )  # fmt: skip
    axes.set(xlabel="epochs", ylabel="training loss (mean of an epoch)", yscale="log")
    first = max((racer.losses[0][0] for racer in racers), key=_if_finite)
    if math.isfinite(first):  # One that diverges would press the others flat.
        axes.set_ylim(top=3 * max(first, target))


def race_rows(racers: Sequence[Racer]) -> list[dict[str, Any]]:
    """Return a row for each network, seed and epoch."""
    return [
        {
            "name": racer.name,
            "rate": racer.rate,
            "rate_is_at_edge": racer.at_edge,
            "seed": seed,
            "epochs_to_target": racer.epochs[seed],
            "epoch": epoch,
            "training_loss": loss,
        }
        for racer in racers
        for seed, losses in enumerate(racer.losses)
        for epoch, loss in enumerate(losses, start=1)
    ]


def edge_note(racers: Sequence[Racer]) -> str:
    """Return a sentence on those whose rate is at the edge of the grid; empty if there is none."""
    names = [racer.name for racer in racers if racer.at_edge]
    if not names:
        return ""
    return (
        f" The rate of {', '.join(names)} is at the edge of the grid: widen `rates`, a better one "
        "may lie beyond."
    )


def check_race(*, rates: Sequence[float], seeds: int, target: float) -> None:
    """Refuse settings of a race that has no result.

    Raises:
        ValueError: If there is no rate or no seed, or the target is not in ``(0, 1)``.
    """
    if not rates or min(rates) <= 0:
        raise ValueError(
            f"`rates` must be learning rates above 0, got {list(rates)}. For example [0.01, 0.1]."
        )
    if seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, got {seeds}. 3 show the spread.")
    if not 0 < target < 1:
        raise ValueError(
            f"`target` is a share of the loss of guessing and must be in (0, 1), got {target}. "
            "0.1 is what the lecture's page uses."
        )


def _if_finite(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
