"""Averages of weights: points on the line between two networks, uniform and greedy soups."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

State = Mapping[str, Tensor]
"""Tensors by name, as in a state dict."""

Score = TypeVar("Score", float, tuple[float, ...])


def interpolate_weights(start: State, end: State, share: float) -> dict[str, Tensor]:
    """Return the weights at a point on the line between two networks.

    Between the network that fine-tuning started from and the one that it ended with, there are
    often points that are better than both (WiSE-FT, Wortsman et al., 2022,
    https://arxiv.org/abs/2109.01903). Batch norms' running statistics at such a point are those of
    no network: estimate them anew.

    Args:
        start: Weights of one network.
        end: Weights of another one of the same architecture.
        share: The share of ``end``, in [0, 1]; 0 and 1 give the given weights, bit for bit.

    Raises:
        ValueError: If the share is none, or the networks cannot be averaged.

    Example:
        >>> start, end = {"weight": torch.tensor([0.0, 4.0])}, {"weight": torch.tensor([2.0, 4.0])}
        >>> interpolate_weights(start, end, 0.25)
        {'weight': tensor([0.5000, 4.0000])}
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` is the share of the end, in [0, 1], got {share}.")
    check_same_shapes([start, end])
    if share in (0, 1):
        return dict(end if share else start)
    return _weighted([start, end], [1 - share, share])


def average_weights(states: Sequence[State]) -> dict[str, Tensor]:
    """Return the mean of the weights of several networks, a uniform soup.

    Wortsman et al., 2022, https://arxiv.org/abs/2203.05482. Sums are made in 64 bits; integers,
    such as the number of batches that a batch norm has seen, are those of the last network.

    Args:
        states: Weights of at least one network, all of one architecture.

    Raises:
        ValueError: If there are none, or they cannot be averaged.

    Example:
        >>> average_weights([{"bias": torch.tensor([1.0])}, {"bias": torch.tensor([2.0])}])
        {'bias': tensor([1.5000])}
    """
    if not states:
        raise ValueError("There are no weights to average. Give those of at least one network.")
    check_same_shapes(states)
    return _weighted(states, [1 / len(states)] * len(states))


def greedy_soup(number: int, score: Callable[[Sequence[int]], Score]) -> list[int]:
    """Choose networks whose average is at least as good as the best one of them.

    The best one first, the others in the order of their score; each stays in the average unless
    that becomes worse with it (recipe 1 of Wortsman et al., 2022, https://arxiv.org/abs/2203.05482).

    Args:
        number: How many networks there are.
        score: Measures the average of the networks with these numbers; more is better.

    Returns:
        The numbers of the chosen ones, the best first.

    Example:
        >>> biases = [4.0, 1.0, 9.0]
        >>> greedy_soup(3, lambda chosen: -abs(sum(biases[n] for n in chosen) / len(chosen) - 3))
        [0, 1]
    """
    alone = [score([each]) for each in range(number)]
    order = sorted(range(number), key=alone.__getitem__, reverse=True)
    chosen: list[int] = order[:1]
    best = alone[order[0]]
    for each in order[1:]:
        found = score([*chosen, each])
        if found >= best:
            chosen.append(each)
            best = found
    return chosen


def differing_tensors(states: Sequence[State]) -> set[str]:
    """Return the names of the tensors that are not the same, bit for bit, in all networks.

    Example:
        >>> one, other = {"a": torch.zeros(2), "b": torch.ones(1)}, {"a": torch.zeros(2)}
        >>> differing_tensors([one, {**other, "b": torch.zeros(1)}])
        {'b'}
    """
    first = states[0]
    return {name for name in first if not _is_same([state[name] for state in states])}


def check_same_shapes(states: Sequence[State]) -> None:
    """Raise unless all networks have the same tensors.

    Raises:
        ValueError: The message names some that differ.
    """
    for state in states[1:]:
        first = states[0]
        wrong = [
            name for name in {**first, **state} if _kind(first.get(name)) != _kind(state.get(name))
        ]
        if wrong:
            raise ValueError(
                f"Weights of different architectures cannot be averaged: {len(wrong)} tensors "
                f"differ in name, shape or type, first {wrong[0]!r}. Take checkpoints of one "
                "backbone and one head."
            )


def _kind(tensor: Tensor | None) -> tuple[torch.Size, torch.dtype] | None:
    return None if tensor is None else (tensor.shape, tensor.dtype)


def _is_same(tensors: Sequence[Tensor]) -> bool:
    return all(torch.equal(tensors[0], tensor) for tensor in tensors[1:])


def _weighted(states: Sequence[State], shares: Sequence[float]) -> dict[str, Tensor]:
    return {
        name: _weighted_tensor(name, [state[name] for state in states], shares)
        for name in states[-1]
    }


def _weighted_tensor(name: str, tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    last = tensors[-1]
    if not (last.is_floating_point() or last.is_complex()) or _is_same(tensors):
        return last  # As it is: masks of minus infinity too.
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError(
            f"{name!r} holds NaN or infinity, and so would any average. Leave the checkpoint out "
            "whose training had diverged."
        )
    wide = torch.complex128 if last.is_complex() else torch.float64
    total = torch.zeros_like(last, dtype=wide)
    for tensor, share in zip(tensors, shares, strict=True):
        total += tensor.to(wide) * share
    return total.to(last.dtype)
