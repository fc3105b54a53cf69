"""Relu converges faster than sigmoid and tanh."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Dots
from tltool.lecture.problem import Problem
from tltool.lecture.race import LOSSES, check_race, loss_to_reach, race, racers
from tltool.lecture.table import Row
from tltool.lecture.training import constant_lr, train_networks

CLAIMED = 6.0
"""Epochs of tanh over those of relu, in the source."""
MUCH = 2.0
"""From how many times the epochs on relu is said to be much faster."""


@dataclass(frozen=True)
class ConvergesFaster(Experiment):
    """The epochs to a training loss, for each activation at its fastest learning rate.

    Args:
        activations: Activations, relu among them, each with the initializer that suits it.
        hidden_features: Width of each hidden layer; three make the source's four layers.
        lrs: Learning rates of SGD with momentum 0.9 that each activation chooses from.
        target: The training loss to reach, as a share of the loss of guessing, in ``(0, 1)``.
        epochs: Length of the training.
        batch_size: Rows in a step.
        max_rows: Training rows that are used, at most.
        seeds: Number of seeds.

    Raises:
        ValueError: If relu or another activation to compare is missing, or a value is out of its
            range.
    """

    title = "Relu converges faster"
    claim = "Relu converges much faster than sigmoid and tanh in practice, for example 6 times."
    source = (
        "CS231n; Krizhevsky, Sutskever & Hinton, 2012, section 3.1 and figure 1, "
        "https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html"
    )
    shows = ("sigmoid", "tanh", "relu")
    number = "epochs to a training loss of {target:.2g}: {epochs}; times relu's: {times}"
    text = (
        "SGD with momentum, each activation at its best learning rate: tune it for each before you "
        "compare. The source compared relu with tanh, in a network of four convolutional layers on "
        "CIFAR-10, at 25 % training error. Where none reaches the loss, give more `epochs`."
    )
    panels = (
        LOSSES,
        Dots("epochs_to_target", "name", "epochs (gray: claimed for tanh)", level="claimed"),
    )

    activations: Sequence[str] = ("sigmoid", "tanh", "relu")
    hidden_features: Sequence[int] = (64, 64, 64)
    lrs: Sequence[float] = (0.01, 0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2)
    target: float = 0.1
    epochs: int = 20
    batch_size: int = 128
    max_rows: int = 1200
    seeds: int = 3

    def __post_init__(self) -> None:
        check_race(lrs=self.lrs, seeds=self.seeds, target=self.target)
        require(
            "relu" in self.activations and len(set(self.activations)) > 1,
            "`activations` must be relu and what it is compared with, got "
            f"{list(self.activations)}. For example [tanh, relu].",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`."""
        problem = problem.standardized().only_training(self.max_rows)
        hidden = list(self.hidden_features)
        networks = [
            {"name": name, "head": {"hidden_features": hidden, "activation": name}}
            for name in self.activations
        ]
        settings = constant_lr(self.epochs, self.batch_size)
        rows = train_networks(problem, networks, self.lrs, self.seeds, settings)
        raced = race(rows, loss_to_reach(self.target, problem.num_classes))
        claimed = CLAIMED * racers(raced)["relu"].median
        return [row | {"claimed": claimed} for row in raced]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: the others take twice relu's epochs or more, with no seed between."""
        epochs = racers(rows)
        others = {name: racer for name, racer in epochs.items() if name != "relu"}
        times = {name: racer.times(epochs["relu"]) for name, racer in others.items()}
        if "tanh" in times:
            times["tanh"] += f" (claimed: {CLAIMED:g})"
        slow = {name: racer.is_slower(epochs["relu"], MUCH) for name, racer in others.items()}
        return Judgement(
            {"twice relu's epochs or more, with no seed between": slow},
            {"target": rows[0]["target"], "epochs": epochs, "times": times},
            is_clear=any(racer.reached for racer in epochs.values()),
        )
