"""Train the networks of an experiment, those of one shape together, and choose learning rates."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from tltool._spec import Spec
from tltool.comparison.head_stack import TrainedHead, train_head_stack
from tltool.comparison.shapes import head_shape, stacks_of
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, where

Head = Mapping[str, Any]
"""Arguments of `Head`."""

PLAIN_SGD = {"name": "SGD", "momentum": 0.0}


def mlp(width: int, depth: int, **options: Any) -> dict[str, Any]:
    """Return the arguments of an `Head` of equally wide hidden layers.

    Example:
        >>> mlp(64, 2, activation="tanh")
        {'hidden_features': [64, 64], 'activation': 'tanh'}
    """
    return {"hidden_features": [width] * depth, **options}


def constant_lr(epochs: int, batch_size: int = 32) -> TrainingSettings:
    """Return training settings without warmup and decay, for what is told by the training loss."""
    return TrainingSettings(epochs, batch_size, warmup=0.0, decay="none")


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
    """Return the network of a row of `train_networks`, as it was after training."""
    network = build_head(row["head"], problem, seed=row["seed"])
    network.load_state_dict(row["run"].state)
    return network


def train_networks(
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
    cases = itertools.product(networks, lrs, seeds)
    rows = [{**network, "lr": lr, "seed": seed} for network, lr, seed in cases]

    def num_parameters(row: Row) -> int:
        return Variant(row["head"]).num_parameters(problem.num_features, problem.num_classes)

    stacks = stacks_of(
        rows, shape=lambda row: head_shape(row["head"]), num_parameters=num_parameters
    )
    for stack in stacks:
        heads = [build_head(row["head"], problem, seed=row["seed"]) for row in stack]
        for head in heads:
            start(head)
        trained = train_head_stack(
            *(heads, problem.features, problem.labels, problem.split),
            lrs=[row["lr"] for row in stack],
            seeds=[row["seed"] for row in stack],
            optimizer=optimizer,
            settings=settings,
        )
        for row, run in zip(stack, trained, strict=True):
            row["training_loss"] = run.train_losses[-1]
            row["accuracy"] = float(run.correct.double().mean())
            row |= {"correct": run.correct, "run": run}
    return rows


def final_val_loss(run: TrainedHead) -> float:
    """Return the loss on the rows that choose, or that train if none do: a cost to choose by."""
    return (run.val_losses or run.train_losses)[-1]


def mark_best_lrs(
    rows: Sequence[Row], cost: Callable[[TrainedHead], float] = final_val_loss
) -> list[Row]:
    """Add to each row of `train_networks` whether its network's best learning rate is its own.

    Args:
        rows: The rows; those of one head follow each other.
        cost: What is least in the mean of the seeds at the best learning rate, from training or
            from the rows that choose: not from those that report.

    Returns:
        The rows with the columns ``is_best_lr``, and ``lr_at_edge``: whether the best one is the
        lowest or highest of several, so that a better one may lie beyond.
    """
    marked = []
    for _, members in itertools.groupby(rows, key=itemgetter("head")):
        by_lr = groups(members, "lr")
        costs = {lr: sum(_finite(cost(row["run"])) for row in each) for lr, each in by_lr.items()}
        best = min(costs, key=lambda lr: costs[lr])
        at_edge = len(costs) > 1 and best in (min(costs), max(costs))
        for lr, each in by_lr.items():
            found = {"is_best_lr": lr == best, "lr_at_edge": at_edge}
            marked += [row | found for row in each]
    return marked


def choose_lrs(
    rows: Sequence[Row], cost: Callable[[TrainedHead], float] = final_val_loss
) -> list[Row]:
    """Return the rows of each network at its best learning rate; see `mark_best_lrs`."""
    return where(mark_best_lrs(rows, cost), is_best_lr=True)


def is_finite(row: Row) -> bool:
    """Return whether the weights of a trained network are numbers: it did not diverge."""
    return all(bool(tensor.isfinite().all()) for tensor in row["run"].state.values())


def frequency_loss(labels: Tensor) -> float:
    """Return the least loss of one answer for all rows: the entropy of the classes' frequencies.

    Example:
        >>> round(frequency_loss(torch.tensor([0, 1, 0, 1])), 4)
        0.6931
    """
    shares = labels.bincount().double() / len(labels)
    return float(torch.special.entr(shares).sum())


@torch.no_grad()
def hidden_outputs(network: nn.Module, features: Tensor) -> list[Tensor]:
    """Return the output ``(B, width)`` of each hidden layer, from the input, in evaluation mode.

    Args:
        network: An `Head`. It is left in evaluation mode.
        features: ``(B, num_features)``.
    """
    outputs = [features]
    for layer in network.eval().get_submodule("hidden").children():
        outputs.append(layer(outputs[-1]))
    return outputs[1:]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 1e12  # A network that diverged chooses another one.
