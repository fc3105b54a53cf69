"""Swish in deep networks."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation.paired_differences import (
    CONFIDENCE,
    Difference,
    MeanEstimate,
    estimate_mean,
    holm,
)
from tltool.evaluation.paired_differences import judge as compare
from tltool.layers.gains import moment_growth
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, half_width, points, stack, where
from tltool.lecture.training import choose_lrs, mlp, train_networks

SWISH, RELU = "silu", "relu"
DEEP = 8
"""Hidden layers from which a network counts as deep."""
WIDEST = 0.02
"""Half the width of an interval of accuracy beyond which no difference tells nothing."""

Comparison = tuple[Difference, MeanEstimate | None]
"""Accuracy of swish less that of relu, and the log of its training loss relative to relu's."""


@dataclass(frozen=True)
class SwishDeep(Experiment):
    """Swish (silu) against relu by depth, without and with a norm.

    Each network takes the learning rate with the least loss on the rows that choose. Weights are
    drawn with the gain of the activation that follows. Seeds of deep networks differ much, so that
    most of them are spent on the result and few on the learning rate.

    Args:
        depths: Numbers of hidden layers. Those of 8 and more are judged, or the largest.
        width: Units of each.
        norms: Norms in front of each activation; ``None`` for none.
        lrs: Learning rates of AdamW to choose from.
        epochs: Length of the training.
        batch_size: Rows in a step, at least 2.
        tuning_seeds: Number of seeds that choose the learning rate.
        seeds: Number of further seeds, at the learning rate that was chosen, which report.

    Raises:
        ValueError: If there is no depth or no norm to compare at, or batches are of single rows.
    """

    title = "Swish in deep networks"
    claim = "Swish does better than relu in deep networks."
    source = "CS231n; Ramachandran et al., 2017, section 5, https://arxiv.org/abs/1710.05941"
    shows = ("silu", "swish_beta")
    number = "silu against relu with {deepest} hidden layers: {comparisons}"
    text = (
        "Judged beyond noise from {least} layers on. Better with: {better}; worse with: {worse}. "
        "Without a norm what the size of the signal is off by grows {growth:.2f} times in each "
        "layer of silu. Where it is better set `activation: silu`, in deep heads with `norm: "
        "batch`."
    )
    panels = (
        Panel("depth", "training_loss", "network", log="y", ticks=True),
        Panel("depth", "accuracy", "network", ticks=True),
    )

    depths: Sequence[int] = (2, 8, 16, 32)
    width: int = 32
    norms: Sequence[str | None] = (None, "batch")
    lrs: Sequence[float] = (5e-3, 1.5e-2, 5e-2)
    epochs: int = 15
    batch_size: int = 128
    tuning_seeds: int = 2
    seeds: int = 6

    def __post_init__(self) -> None:
        require(
            min(self.depths, default=0) >= 1 and self.norms and self.batch_size >= 2,
            "`depths` needs at least one number, each at least 1; `norms` one name or null; "
            f"and `batch_size` must be at least 2; got {list(self.depths)}, "
            f"{list(self.norms)} and {self.batch_size}. Write [2, 32], [null] and 64.",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; ``pair`` names what both activations share."""
        problem = problem.standardized()
        rows = []
        for norm, depth in itertools.product(self.norms, sorted(set(self.depths))):
            label = f"{norm} norm" if norm else "no norm"
            num_rows = len(problem.split.train)
            size = batch_size_for_norms(num_rows, self.batch_size) if norm else self.batch_size
            settings = TrainingSettings(epochs=self.epochs, batch_size=size)
            for name in (SWISH, RELU):
                network: Row = {"activation": name, "norm": label, "network": f"{name}, {label}"}
                network |= {"pair": f"{label}, {depth} layers", "depth": depth}
                head = mlp(self.width, depth, activation=name, norm=norm)
                rows += self._train(problem, {**network, "head": head}, settings)
        return rows

    def _train(self, problem: Problem, network: Row, settings: TrainingSettings) -> list[Row]:
        """Return the rows of the seeds that report, at the learning rate best for the others."""
        lrs, fresh = sorted(set(self.lrs)), range(self.tuning_seeds, self.tuning_seeds + self.seeds)
        tuned = train_networks(
            problem, [network], lrs, self.tuning_seeds, settings, optimizer="AdamW"
        )
        best = choose_lrs(tuned)[0]
        network = network | {"lr_at_edge": best["lr_at_edge"]}
        return train_networks(problem, [network], [best["lr"]], fresh, settings, optimizer="AdamW")

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: swish is better in deep networks.

        At 8 and more layers, it is better where its accuracy is higher or its training loss lower
        beyond noise (p < 0.05, Holm's correction for both measures at all such depths and norms),
        and neither is worse. It is not clear if it is neither better nor worse anywhere, but an
        interval of accuracy is wider than 2 points to each side.
        """
        deepest = max(self.depths)
        least = min(DEEP, deepest)
        deep = [row for row in rows if row["depth"] >= least]
        found = {pair: compare_pair(each) for pair, each in groups(deep, "pair").items()}
        better, worse = better_and_worse(found)
        last = groups(where(deep, depth=deepest), "pair")
        told = [
            f"{each[0]['norm']}: accuracy {points(found[pair][0].estimate)}, "
            f"training loss {_times(found[pair][1])}"
            for pair, each in last.items()
        ]
        is_narrow = all(half_width(each.estimate) <= WIDEST for each, _ in found.values())
        best_at_last = set(last) <= set(better) and not worse
        return Judgement(
            {"better somewhere": bool(better), "with most layers, worse nowhere": best_at_last},
            {"deepest": deepest, "least": least, "comparisons": "; ".join(told)}
            | {"better": "; ".join(better) or "nothing", "worse": "; ".join(worse) or "nothing"}
            | {"growth": moment_growth(SWISH)},
            is_clear=bool(better or worse) or is_narrow,
        )


def compare_pair(rows: Sequence[Row]) -> Comparison:
    """Return how swish differs from relu in the rows of both with one norm and depth.

    The ratio of losses is paired over seeds, and ``None`` if a network diverged: then there is no
    such mean.
    """
    both = groups(rows, "activation")
    (accuracy,) = compare({name: stack(each) for name, each in both.items()}, RELU)
    losses = {
        name: torch.tensor([row["training_loss"] for row in each]) for name, each in both.items()
    }
    ratios = (losses[SWISH] / losses[RELU]).log()
    # Seeds stand where images do: of one row, the error is that of its mean.
    return accuracy, estimate_mean(ratios[None]) if ratios.isfinite().all() else None


def better_and_worse(found: dict[str, Comparison]) -> tuple[list[str], list[str]]:
    """Return where swish is better and nothing is worse, and where something is worse."""
    effects = [(pair, d.estimate.mean, d.p_value) for pair, (d, _) in found.items()]
    effects += [(pair, -each.mean, each.p_value) for pair, (_, each) in found.items() if each]
    p_values = holm([p_value for _, _, p_value in effects])
    signs: dict[str, set[bool]] = {pair: set() for pair in found}
    for (pair, advantage, _), p_value in zip(effects, p_values, strict=True):
        if p_value < 1 - CONFIDENCE:
            signs[pair].add(advantage > 0)
    worse = [pair for pair in found if False in signs[pair]]
    return [pair for pair in found if signs[pair] == {True}], worse


def batch_size_for_norms(num_rows: int, batch_size: int) -> int:
    """Return the largest batch size up to the one wanted whose last batch is not a single row.

    Batch norm in training mode refuses a single row. If there is no such size, it is all rows.

    Args:
        num_rows: Number of rows that train, at least 2.
        batch_size: The size wanted, at least 2.

    Example:
        >>> batch_size_for_norms(1169, 128), batch_size_for_norms(129, 128)
        (128, 127)
    """
    sizes = range(batch_size, 1, -1)
    return next((size for size in sizes if num_rows % size != 1), num_rows)


def _times(ratio: MeanEstimate | None) -> str:
    if ratio is None:
        return "diverged"
    mean, low, high = torch.tensor([ratio.mean, *ratio.interval]).exp().tolist()  # Or infinite.
    return f"x {mean:.2g} ({low:.2g} to {high:.2g})"
