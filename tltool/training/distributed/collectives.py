"""Collective operations over the ranks that do nothing without other ranks."""

import logging
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

log = logging.getLogger(__name__)


def is_distributed() -> bool:
    """Tell whether there is more than one rank."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather_over_ranks(value: Tensor) -> Tensor:
    """Return a tensor of each rank, ``(num_ranks, ...)``; all ranks must call it."""
    if not is_distributed():
        return value[None]
    values = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(values, value.contiguous())
    return torch.stack(values)


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of a tensor over the ranks; all ranks must call it."""
    if not is_distributed():
        return value
    value = value.clone()
    # gloo and nccl differ in where tensors must lie; each rank's device has both.
    dist.all_reduce(value)
    return value


def largest_over_ranks(number: int, device: torch.device) -> int:
    """Return the largest number of the ranks; all ranks must call it.

    Args:
        number: That of this rank.
        device: Where the rank computes.
    """
    if not is_distributed():
        return number
    value = torch.tensor([number], device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return int(value)


def wait_for_ranks(limit: timedelta) -> None:
    """Wait until all ranks have come here, but no longer than a limit.

    Args:
        limit: How long. A rank that has died never comes.
    """
    if not is_distributed():
        return
    work = dist.barrier(async_op=True)
    try:
        if work is not None:
            work.wait(limit)
    except RuntimeError as error:
        log.warning("Not all ranks have ended together: %s", str(error).partition("\n")[0])
