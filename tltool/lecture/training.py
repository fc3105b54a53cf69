"""Train the networks of an experiment, choose learning rates, and look into what was trained."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, product
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._spec import Spec
from tltool.comparison.head_stack import TrainedHead, train_head_stack
from tltool.comparison.shapes import head_shape, stacks_of
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.layers.learned_activations import MaxoutLinear
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, where

Head = Mapping[str, Any]
"""Arguments of `Head`."""

Cost = Callable[[TrainedHead], float]
"""What a learning rate is chosen by, of a training."""
PLAIN_SGD = {"name": "SGD", "momentum": 0.0}


def mlp(width: int, depth: int, **options: Any) -> dict[str, Any]:
    """Return the arguments of a `Head` of equally wide hidden layers.

    Example:
        >>> mlp(64, 2, activation="tanh")
        {'hidden_features': [64, 64], 'activation': 'tanh'}
    """
    return {"hidden_features": [width] * depth, **options}


def constant_lr(epochs: int, batch_size: int = 32, optimizer: Spec = "SGD") -> dict[str, Any]:
    """Return arguments of `train_grid` without warmup and decay: what the training loss tells."""
    settings = TrainingSettings(epochs, batch_size, warmup=0.0, decay="none")
    return {"settings": settings, "optimizer": optimizer}


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


def trained_head(row: Row, problem: Problem) -> nn.Module:
    """Return the network of a row of `train_grid`, as it was after training."""
    network = build_head(row["head"], problem, seed=row["seed"])
    network.load_state_dict(row["run"].state)
    return network


def train_grid(
    problem: Problem,
    networks: Sequence[Row],
    lrs: Sequence[float],
    seeds: int | range,
    settings: TrainingSettings,
    *,
    optimizer: Spec = "SGD",
    start: Callable[[nn.Module], object] = lambda network: None,
) -> list[Row]:
    """Train each network at each learning rate with each seed, those of one shape together.

    Args:
        problem: The data.
        networks: Columns that name each of them, and its ``head``.
        lrs: Learning rates.
        seeds: Seeds of initialization and batch order, or how many from 0 on.
        settings: How long, in which batches.
        optimizer: A name in ``tltool.comparison.optimizers.OPTIMIZERS``, or a mapping.
        start: Called with each new network, to change where it starts.

    Returns:
        A row for each network, learning rate and seed, in this order, with the columns of the
        network, ``lr``, ``seed``, ``training_loss`` (of the last epoch), ``accuracy`` on the test
        rows, ``correct``, a tensor ``(N,)``, and ``run``, all that is known of the training.
    """
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    rows = [{**each, "lr": lr, "seed": seed} for each, lr, seed in product(networks, lrs, seeds)]

    def size(row: Row) -> int:
        return count_parameters(row["head"], problem)

    for stack in stacks_of(rows, shape=lambda row: head_shape(row["head"]), num_parameters=size):
        heads = [build_head(row["head"], problem, seed=row["seed"]) for row in stack]
        for head in heads:
            start(head)
        data = (problem.features, problem.labels, problem.split)
        options: Row = {name: [row[name[:-1]] for row in stack] for name in ("lrs", "seeds")}
        runs = train_head_stack(heads, *data, **options, optimizer=optimizer, settings=settings)
        for row, run in zip(stack, runs, strict=True):
            row |= {"training_loss": run.train_losses[-1], "correct": run.correct, "run": run}
            row["accuracy"] = float(run.correct.double().mean())
    return rows


def count_parameters(head: Head, problem: Problem) -> int:
    """Return the number of weights and biases of a network."""
    return Variant(head).num_parameters(problem.num_features, problem.num_classes)


def final_val_loss(run: TrainedHead) -> float:
    """Return the loss on the rows that choose, or that train if none do: a cost to choose by."""
    return finite((run.val_losses or run.train_losses)[-1])


def finite(loss: float) -> float:
    """Return a loss, or a large number for that of a network that diverged."""
    return loss if math.isfinite(loss) else 1e12


def mark_best_lrs(rows: Sequence[Row], cost: Cost = final_val_loss) -> list[Row]:
    """Add to each row of `train_grid` whether its network's best learning rate is its own.

    Args:
        rows: The rows; those of one head follow each other.
        cost: What is least in the mean of the seeds at the best learning rate, from training or
            from the rows that choose: not from those that report.

    Returns:
        The rows with the columns ``is_best_lr``, and ``lr_at_edge``: whether the best one is the
        lowest or highest of several, so that a better one may lie beyond.
    """
    marked = []
    for _, members in groupby(rows, key=itemgetter("head")):
        by_lr = groups(members, "lr")
        costs = {lr: sum(cost(row["run"]) for row in each) for lr, each in by_lr.items()}
        best = min(costs, key=lambda lr: costs[lr])
        at_edge = len(costs) > 1 and best in (min(costs), max(costs))
        for lr, each in by_lr.items():
            found = {"is_best_lr": lr == best, "lr_at_edge": at_edge}
            marked += [row | found for row in each]
    return marked


def choose_lrs(rows: Sequence[Row], cost: Cost = final_val_loss) -> list[Row]:
    """Return the rows of each network at its best learning rate; see `mark_best_lrs`."""
    return where(mark_best_lrs(rows, cost), is_best_lr=True)


def gradients(network: nn.Module, features: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the gradient of the loss of some rows for each parameter; none is left in them.

    Args:
        network: The network, in the mode that it is in.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
    """
    loss = functional.cross_entropy(network(features), labels)
    return list(torch.autograd.grad(loss, list(network.parameters())))


def idle_after_training(row: Row, problem: Problem) -> float:
    """Return the `idle_share` of a row of `train_grid`, NaN if the network diverged."""
    is_finite = all(tensor.isfinite().all() for tensor in row["run"].state.values())
    return idle_share(trained_head(row, problem), problem.train[0]) if is_finite else math.nan


@torch.no_grad()
def idle_share(network: nn.Module, features: Tensor) -> float:
    """Return the share of the hidden layers' linear functions that no row activates.

    They are units whose input to the activation is positive for no row, as relu's without a
    gradient are, and pieces of maxout that never are the largest.

    Args:
        network: A `Head` without norms. It is left in evaluation mode.
        features: ``(N, num_features)``.
    """
    idle: list[Tensor] = []
    for layer in network.eval().get_submodule("hidden").children():
        first = next(layer.children())
        if isinstance(first, MaxoutLinear):
            z = first.linear(features).unflatten(1, (first.k, -1))  # (N, k, width)
            idle.append((z < z.amax(dim=1, keepdim=True)).all(dim=0).flatten())
        else:
            idle.append((first(features) <= 0).all(dim=0))
        features = layer(features)
    return float(torch.cat(idle).double().mean())
