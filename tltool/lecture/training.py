"""Networks of an experiment, trained together where they have one shape."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.special import stdtrit
from torch import Tensor, nn

from tltool._spec import Spec
from tltool.comparison.head_stack import Trained, train_stack
from tltool.comparison.shapes import head_shape, stacks_of
from tltool.comparison.training_settings import Recipe
from tltool.comparison.variants import Variant
from tltool.lecture.problem import Problem

Head = Mapping[str, Any]
"""Arguments of `Head`."""


@dataclass(frozen=True)
class Trial:
    """One training: which network, from which seed, at which learning rate."""

    head: Head
    seed: int
    rate: float


@dataclass(frozen=True)
class Tuned:
    """A network at the learning rate that it chose.

    Args:
        rate: The rate.
        at_edge: Whether it is the lowest or highest of the grid: a better one may lie beyond.
        runs: What it came to at this rate, for each seed.
        tried: What it came to at every rate.
    """

    rate: float
    at_edge: bool
    runs: list[Trained]
    tried: Mapping[float, list[Trained]] = field(default_factory=dict, repr=False)

    @property
    def accuracies(self) -> list[float]:
        """The accuracy of each seed on the rows that report."""
        return [float(run.correct.double().mean()) for run in self.runs]


def build_head(head: Head, problem: Problem, *, seed: int) -> nn.Module:
    """Return a new network for a problem, its weights drawn by a seed.

    Args:
        head: Arguments of `Head`.
        problem: The data.
        seed: Of the initialization; torch's own random numbers stay as they are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        # `Variant` gives no advice: what defeats itself is what an experiment shows.
        return Variant(head).build(problem.num_features, problem.num_classes)


def train_trials(
    problem: Problem,
    trials: Sequence[Trial],
    *,
    recipe: Recipe,
    optimizer: Spec = "SGD",
    start: Callable[[nn.Module], object] = lambda network: None,
) -> list[Trained]:
    """Train each network and return what it came to, in order; those of one shape together.

    Args:
        problem: The data.
        trials: What trains.
        recipe: How long, in which batches.
        optimizer: A name in ``tltool.comparison.optimizers.OPTIMIZERS``, or a mapping.
        start: Called with each new network, to change where it starts.
    """
    results: dict[int, Trained] = {}
    stacks = stacks_of(
        range(len(trials)),
        shape=lambda index: head_shape(trials[index].head),
        num_parameters=lambda index: Variant(trials[index].head).num_parameters(
            problem.num_features, problem.num_classes
        ),
    )
    for members in stacks:
        stack = [trials[index] for index in members]
        networks = [build_head(trial.head, problem, seed=trial.seed) for trial in stack]
        for network in networks:
            start(network)
        trained = train_stack(
            networks,
            problem.features,
            problem.labels,
            problem.split,
            rates=[trial.rate for trial in stack],
            seeds=[trial.seed for trial in stack],
            optimizer=optimizer,
            recipe=recipe,
        )
        results |= dict(zip(members, trained, strict=True))
    return [results[index] for index in range(len(trials))]


def tune(
    problem: Problem,
    heads: Mapping[str, Head],
    *,
    rates: Sequence[float],
    seeds: int,
    recipe: Recipe,
    cost: Callable[[Trained], float],
    optimizer: Spec = "SGD",
    start: Callable[[nn.Module], object] = lambda network: None,
) -> dict[str, Tuned]:
    """Train each network at each rate with each seed; each keeps the rate with the least mean cost.

    Args:
        problem: The data.
        heads: The networks by name.
        rates: Learning rates, the same for all.
        seeds: How many seeds.
        recipe: How each trains.
        cost: What is least at the best rate, from training or from the rows that choose: not from
            those that report.
        optimizer: See `train_trials`.
        start: See `train_trials`.
    """
    trials = [
        Trial(head, seed, rate)
        for head in heads.values()
        for rate in rates
        for seed in range(seeds)
    ]
    found = iter(train_trials(problem, trials, recipe=recipe, optimizer=optimizer, start=start))
    tuned = {}
    for name in heads:
        runs = {rate: [next(found) for _ in range(seeds)] for rate in rates}
        costs = {rate: sum(_finite(cost(run)) for run in each) for rate, each in runs.items()}
        best = min(rates, key=lambda rate: costs[rate])
        at_edge = len(rates) > 1 and best in (min(rates), max(rates))
        tuned[name] = Tuned(best, at_edge, runs[best], tried=runs)
    return tuned


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


def frequency_loss(labels: Tensor) -> float:
    """Return the least loss of one answer for all rows: the entropy of the classes' frequencies.

    Example:
        >>> round(frequency_loss(torch.tensor([0, 1, 0, 1])), 4)
        0.6931
    """
    shares = labels.bincount().double() / len(labels)
    return float(torch.special.entr(shares).sum())


def gradient_norms(network: nn.Module, features: Tensor, labels: Tensor) -> list[float]:
    """Return the norm of the loss's gradient for the weights of each linear layer, from the input.

    Args:
        network: It is left in training mode, without gradients.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
    """
    network.train().zero_grad()
    loss = nn.functional.cross_entropy(network(features), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    norms = [
        float(module.weight.grad.norm())
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.weight.grad is not None
    ]
    network.zero_grad()
    return norms


def hidden_outputs(network: nn.Module, features: Tensor) -> list[Tensor]:
    """Return the output ``(B, width)`` of each hidden layer, from the input, in evaluation mode.

    Args:
        network: A `Head`. It is left in evaluation mode.
        features: ``(B, num_features)``.
    """
    outputs: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        for layer in network.get_submodule("hidden").children()
    ]
    try:
        with torch.no_grad():
            network.eval()(features)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def mean_with_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds, and half the width of its 95 % confidence interval (Student's t).

    Args:
        values: One for each seed, independent of each other.

    Returns:
        The half width is ``inf`` with fewer than two seeds, and the mean NaN with none.

    Example:
        >>> mean, half = mean_with_error([0.1, 0.2, 0.3])
        >>> round(mean, 3), round(half, 3)
        (0.2, 0.248)
    """
    if len(values) < 2:
        return (values[0] if values else math.nan), math.inf
    quantile = float(stdtrit(len(values) - 1, 0.975))
    return statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(len(values))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 1e12  # A network that diverged chooses another rate.
