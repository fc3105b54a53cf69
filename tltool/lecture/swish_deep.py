"""Swish against relu in deep networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation import paired_differences as paired
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, half_width, points, stack

SWISH, RELU = "silu", "relu"
DEEP = 8
"""Hidden layers from which a network counts as deep."""
WIDEST = 0.02
"""Half the width of an interval of accuracy beyond which no difference tells nothing."""

Comparison = tuple[paired.MeanEstimate, float, paired.MeanEstimate | None]
"""Accuracy of swish less relu's, its p value, and the log of its training loss less relu's."""


@dataclass(frozen=True)
class SwishDeep(Claim):
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
    """

    panels = (
        ClaimPanel("depth", "training_loss", "network", log="y", ticks=True),
        ClaimPanel("depth", "accuracy", "network", ticks=True),
    )

    depths: Sequence[int] = (2, 8, 16, 32)
    width: int = 32
    norms: Sequence[str | None] = (None, "batch")
    lrs: Sequence[float] = (5e-3, 1.5e-2, 5e-2)
    epochs: int = 15
    batch_size: int = setting(128, above=1)
    tuning_seeds: int = 2
    seeds: int = 6

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``pair`` names what both activations share."""
        problem, rows = problem.standardized(), []
        num_rows, lrs = len(problem.split.train), sorted(set(self.lrs))
        reporting = range(self.tuning_seeds, self.tuning_seeds + self.seeds)
        for norm, depth, name in product(self.norms, sorted(set(self.depths)), (SWISH, RELU)):
            label = f"{norm} norm" if norm else "no norm"
            size = batch_size_for_norms(num_rows, self.batch_size) if norm else self.batch_size
            network = {"activation": name, "network": f"{name}, {label}", "depth": depth}
            network |= {"norm": label, "pair": f"{label}, {depth} layers"}
            network["head"] = training.mlp(self.width, depth, activation=name, norm=norm)
            options: Row = {"optimizer": "AdamW", "settings": TrainingSettings(self.epochs, size)}
            train = training.train_grid
            tuned = train(problem, [network], lrs, self.tuning_seeds, **options)
            best = training.choose_lrs(tuned)[0]
            network["lr_at_edge"] = best["lr_at_edge"]
            rows += train(problem, [network], [best["lr"]], reporting, **options)
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: swish is better in deep networks.

        At 8 and more layers, it is better where its accuracy is higher or its training loss lower
        beyond noise (p < 0.05, Holm's correction for both measures at all such depths and norms),
        and neither is worse. It is not clear if it is neither better nor worse anywhere, but an
        interval of accuracy is wider than 2 points to each side.
        """
        deepest = max(self.depths)
        least = min(DEEP, deepest)
        deep = groups((row for row in rows if row["depth"] >= least), "pair")
        found = {pair: compare_pair(each) for pair, each in deep.items()}
        better, worse = better_and_worse(found)
        last = {pair: each[0]["norm"] for pair, each in deep.items() if each[0]["depth"] == deepest}
        told = [
            f"{norm}: accuracy {points(found[pair][0])}, training loss {_times(found[pair][2])}"
            for pair, norm in last.items()
        ]
        best_at_last = set(last) <= set(better) and not worse
        return Judgement(
            {"better somewhere": bool(better), "with most layers, worse nowhere": best_at_last},
            {"deepest": deepest, "least": least, "comparisons": "; ".join(told)}
            | {"better": "; ".join(better) or "nothing", "worse": "; ".join(worse) or "nothing"},
            is_clear=bool(better or worse)
            or all(half_width(accuracy) <= WIDEST for accuracy, _, _ in found.values()),
        )


def compare_pair(rows: Sequence[Row]) -> Comparison:
    """Return how swish differs from relu in the rows of both with one norm and depth.

    The ratio of losses is paired over seeds, and ``None`` if a network diverged: then there is no
    such mean.
    """
    both = groups(rows, "activation")
    (accuracy,) = paired.judge({name: stack(each) for name, each in both.items()}, RELU)
    swish, relu = (
        torch.tensor([row["training_loss"] for row in both[name]]) for name in (SWISH, RELU)
    )
    ratios = (swish / relu).log()
    # Seeds stand where images do: of one row, the error is that of its mean.
    loss = paired.estimate_mean(ratios[None]) if ratios.isfinite().all() else None
    return accuracy.estimate, accuracy.p_value, loss


def better_and_worse(found: Mapping[str, Comparison]) -> tuple[list[str], list[str]]:
    """Return where swish is better and nothing is worse, and where something is worse."""
    effects = [(pair, accuracy.mean, p_value) for pair, (accuracy, p_value, _) in found.items()]
    effects += [(pair, -loss.mean, loss.p_value) for pair, (_, _, loss) in found.items() if loss]
    corrected = zip(effects, paired.holm([p_value for _, _, p_value in effects]), strict=True)
    signs = {(pair, gain > 0) for (pair, gain, _), p in corrected if p < 1 - paired.CONFIDENCE}
    worse = [pair for pair in found if (pair, False) in signs]
    return [pair for pair in found if (pair, True) in signs and pair not in worse], worse


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
    return next((size for size in range(batch_size, 1, -1) if num_rows % size != 1), num_rows)


def _times(ratio: paired.MeanEstimate | None) -> str:
    if ratio is None:
        return "diverged"
    mean, low, high = torch.tensor([ratio.mean, *ratio.interval]).exp().tolist()  # Or infinite.
    return f"x {mean:.2g} ({low:.2g} to {high:.2g})"
