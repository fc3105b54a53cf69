"""Convergence: relu converges faster than sigmoid and tanh."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.problem import Problem
from tltool.lecture.race import LOSSES, race, racers
from tltool.lecture.table import Row

CLAIMED = 6
"""Epochs of tanh over those of relu, in the source."""
MUCH = 2.0
"""From how many times the epochs on relu is said to be much faster."""


@dataclass(frozen=True)
class ConvergesFaster(Claim):
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
    """

    panels = (LOSSES,)

    activations: Sequence[str] = setting(("sigmoid", "tanh", "relu"), at_least=2, holding=("relu",))
    hidden_features: Sequence[int] = (64, 64, 64)
    lrs: Sequence[float] = (0.01, 0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2)
    target: float = setting(0.1, below=1)
    epochs: int = 20
    batch_size: int = 128
    max_rows: int = 1200
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`."""
        problem = problem.standardized().only_training(self.max_rows)
        hidden = list(self.hidden_features)
        networks = [
            {"name": name, "head": {"hidden_features": hidden, "activation": name}}
            for name in self.activations
        ]
        sgd = training.constant_lr(self.epochs, self.batch_size)
        rows = training.train_grid(problem, networks, self.lrs, self.seeds, **sgd)
        return race(rows, self.target * problem.guess_loss)

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: the others take twice relu's epochs or more, with no seed between."""
        epochs = racers(rows)
        relu, others = epochs["relu"], {n: each for n, each in epochs.items() if n != "relu"}
        times = {name: racer.times(relu) for name, racer in others.items()}
        if "tanh" in times:
            times["tanh"] += f" (claimed: {CLAIMED})"
        return Judgement(
            {f"{n} takes twice relu's epochs": r.is_slower(relu, MUCH) for n, r in others.items()},
            {"target": rows[0]["target"], "epochs": epochs, "times": times},
            is_clear=any(racer.reached for racer in epochs.values()),
        )
