"""Agreement of the ranks: checks of what trains and of every weight, and batch norm averages."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.training.distributed.collectives import is_distributed, sum_over_ranks

_SHOWN = 3
_REMEDY = "Start all ranks with the same code, configuration and images."


def check_same(of_ranks: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Raise if the facts of a rank are not those of rank 0.

    Args:
        of_ranks: The machine and the facts of each rank.

    Raises:
        ValueError: It names the rank, and both values.

    Example:
        >>> check_same([("node1", {"torch": "2.14.1"}), ("node2", {"torch": "2.14.0"})])
        Traceback (most recent call last):
        ...
        ValueError: Rank 1 (node2) is not as rank 0 (node1): torch is 2.14.0 and not 2.14.1. ...
    """
    (first_host, first), *others = of_ranks
    for rank, (host, facts) in enumerate(others, start=1):
        keys = [key for key in {**first, **facts} if first.get(key) != facts.get(key)]
        if keys:
            shown = [f"{key} is {facts.get(key)} and not {first.get(key)}" for key in keys[:_SHOWN]]
            more = f", and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            raise ValueError(
                f"Rank {rank} ({host}) is not as rank 0 ({first_host}): {'; '.join(shown)}{more}. "
                f"{_REMEDY}"
            )


def check_same_trainable(names: Collection[str]) -> None:
    """Check that the same parameters train on all ranks.

    Raises:
        RuntimeError: On every rank, if they differ; the message names the first rank that does.
    """
    if not is_distributed():
        return
    of_ranks: list[set[str]] = [set()] * dist.get_world_size()
    dist.all_gather_object(of_ranks, set(names))
    for rank, of_rank in enumerate(of_ranks):
        if of_rank != of_ranks[0]:
            raise RuntimeError(
                f"Rank {rank} trains {len(of_rank)} parameters and rank 0 trains "
                f"{len(of_ranks[0])} parameters, which are not the same. Build the same model and "
                "schedule on all ranks."
            )


def check_same_start(start: Mapping[str, Any]) -> None:
    """Check that all ranks have found the same run directory and the same checkpoint in it.

    Args:
        start: What this rank has found, by name.

    Raises:
        ValueError: On every rank, if they differ; the message names the first rank that does.
    """
    if not is_distributed():
        return
    of_ranks: list[Mapping[str, Any]] = [{}] * dist.get_world_size()
    dist.all_gather_object(of_ranks, dict(start))
    for rank, of_rank in enumerate(of_ranks):
        for name, value in of_ranks[0].items():
            if of_rank[name] != value:
                raise ValueError(
                    f"The {name} is {of_rank[name]} on rank {rank} and {value} on rank 0. Start "
                    "all ranks with one --run_dir, on a file system that all nodes share."
                )


def check_same_weights(module: nn.Module) -> None:
    """Check that all ranks have the same weights, bit for bit.

    Sharded parameters are left out: each rank holds another part of them.

    Raises:
        RuntimeError: On every rank, if a parameter differs; the message names it.
    """
    named = [(n, p) for n, p in module.named_parameters() if type(p.data) is Tensor]
    if not named or not is_distributed():
        return
    sums = torch.stack([weight_checksum(parameter) for _, parameter in named])  # (num_parameters,)
    of_rank_0 = sums.clone()
    dist.broadcast(of_rank_0, src=0)
    differs = (sums != of_rank_0).to(torch.int64)
    dist.all_reduce(differs)
    if differs.any():
        names = [name for (name, _), count in zip(named, differs.tolist(), strict=True) if count]
        raise RuntimeError(
            f"{len(names)} of {len(named)} parameters differ between ranks, first {names[0]!r}. "
            "Something has changed them outside of the optimizer on one rank. The results cannot "
            "be trusted: start again from the last checkpoint."
        )


def average_batch_norm_(norms: Iterable[_BatchNorm]) -> None:
    """Average running statistics over the ranks, in place.

    Each rank updates its own with its share of the batch, and DDP then takes those of rank 0 for
    all. The average makes use of all images.
    """
    buffers = [
        buffer
        for norm in norms
        for buffer in (norm.running_mean, norm.running_var)
        if buffer is not None
    ]
    if not buffers or not is_distributed():
        return
    flat = torch.cat([buffer.flatten().float() for buffer in buffers])
    means = sum_over_ranks(flat) / dist.get_world_size()
    sizes = [buffer.numel() for buffer in buffers]
    for buffer, mean in zip(buffers, torch.split(means, sizes), strict=True):
        buffer.copy_(mean.view_as(buffer))


def weight_checksum(parameter: Tensor) -> Tensor:
    """Return the sum of a tensor's bits, weighted by place; in integers, so it is exact."""
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32}.get(
        parameter.element_size(), torch.int64
    )
    values = parameter.detach().contiguous().view(-1).view(bits).to(torch.int64)
    place = torch.arange(values.numel(), device=values.device) % 8191 + 1
    return (values * place).sum()
