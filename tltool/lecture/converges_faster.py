"""Relu converges faster than sigmoid and tanh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tltool.comparison.training_settings import Recipe
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.pictures import COLORS, MARKERS, draw_legend, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.race import (
    Racer,
    check_race,
    cost_of_reaching,
    draw_race,
    edge_note,
    loss_to_reach,
    race,
    race_rows,
)
from tltool.lecture.training import tune

CLAIMED = 6.0
"""Epochs of tanh over those of relu, in the source."""

MUCH = 2.0
"""From how many times the epochs on relu is said to be much faster."""


@dataclass(frozen=True)
class ConvergesFaster(Experiment):
    """The epochs to a training loss, for each activation at the rate that gets it there first.

    Args:
        activations: Activations, relu among them, each with the initializer that suits it.
        hidden_features: Width of each hidden layer; three make the source's four layers.
        rates: Learning rates of SGD with momentum 0.9 that each activation chooses from.
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

    activations: Sequence[str] = ("sigmoid", "tanh", "relu")
    hidden_features: Sequence[int] = (64, 64, 64)
    rates: Sequence[float] = (0.01, 0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2)
    target: float = 0.1
    epochs: int = 20
    batch_size: int = 128
    max_rows: int = 1200
    seeds: int = 3

    def __post_init__(self) -> None:
        check_race(rates=self.rates, seeds=self.seeds, target=self.target)
        if "relu" not in self.activations or len(set(self.activations)) < 2:
            raise ValueError(
                f"`activations` must be relu and what it is compared with, got "
                f"{list(self.activations)}. For example [tanh, relu]."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        racers = self.race(problem.standardized().only_training(self.max_rows))
        figure, (left, right) = new_figure(2)
        draw_race(left, list(racers.values()))
        for number, racer in enumerate(racers.values()):
            # A seed that never gets there has no point.
            right.plot(
                racer.epochs,
                [number] * self.seeds,
                MARKERS[number % len(MARKERS)],
                color=COLORS[number % len(COLORS)],
                alpha=0.7,
            )
        right.set(xlabel="epochs to the target, a mark a seed", xlim=(0, self.epochs))
        right.set_yticks(range(len(racers)), list(racers))
        right.margins(y=0.3)
        if racers["relu"].reached:
            claimed = CLAIMED * racers["relu"].median
            right.axvline(claimed, color="0.3", linewidth=1, linestyle="dashed")
            right.set_xlim(right=max(self.epochs, 1.1 * claimed))
            right.annotate(
                f"{CLAIMED:g} times relu's ",
                (claimed, 0.98),
                xycoords=("data", "axes fraction"),
                ha="right",
                va="top",
                fontsize=8,
            )
        draw_legend(figure, left)
        return Finding(*self.judge(racers), figure, race_rows(list(racers.values())))

    def race(self, problem: Problem) -> dict[str, Racer]:
        """Return how fast a network with each activation comes to the target."""
        target = loss_to_reach(self.target, problem.num_classes)
        heads = {
            name: {"hidden_features": list(self.hidden_features), "activation": name}
            for name in self.activations
        }
        tuned = tune(
            problem,
            heads,
            rates=self.rates,
            seeds=self.seeds,
            recipe=Recipe(self.epochs, self.batch_size, warmup=0.0, decay="none"),
            cost=cost_of_reaching(target),
        )
        return race(tuned, target)

    def judge(self, racers: Mapping[str, Racer]) -> tuple[Verdict, str, str]:
        """Return verdict, number and text.

        It holds if each other activation takes twice relu's epochs or more, with no seed between;
        in part if some do.

        Args:
            racers: Relu and the others, by name.
        """
        relu = racers["relu"]
        others = [racer for name, racer in racers.items() if name != "relu"]
        beaten = [racer.name for racer in others if racer.is_slower(relu, MUCH)]
        verdict: Verdict
        if not any(racer.reached for racer in racers.values()):
            verdict = "cannot be told here"
        elif len(beaten) == len(others):
            verdict = "holds"
        else:
            verdict = "holds in part" if beaten else "does not hold here"
        number = (
            f"epochs to a training loss of {relu.target:.2g}: "
            + ", ".join(f"{name} {racer.shown}" for name, racer in racers.items())
            + "; times relu's: "
            + ", ".join(
                f"{racer.name} {racer.times(relu)}"
                + (f" (claimed: {CLAIMED:g})" if racer.name == "tanh" else "")
                for racer in others
            )
        )
        text = (
            f"A network of {len(self.hidden_features)} hidden layers, SGD with momentum, each "
            f"activation at the best of {len(self.rates)} rates; {MUCH:g} times the epochs or "
            f"more, with no seed between, count as much slower: {', '.join(beaten) or 'none'}. "
            "The source compared relu with tanh, in a network of four convolutional layers on "
            "CIFAR-10, at 25 % training error. " + _advice(racers, beaten)
        )
        return verdict, number, text + edge_note(list(racers.values()))


def _advice(racers: Mapping[str, Racer], beaten: Sequence[str]) -> str:
    if not any(racer.reached for racer in racers.values()):
        return "None reached the loss: give more `epochs`, or a larger `target`."
    if "tanh" in racers and "tanh" not in beaten:
        return (
            "With weights that suit it and a rate of its own, tanh is not much slower here: tune "
            "the rate for each activation before you compare."
        )
    return "Start with relu, and tune the rate for each activation before you compare."
