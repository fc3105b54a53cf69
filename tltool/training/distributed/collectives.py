"""Collective operations over the ranks that do nothing without other ranks."""

import torch
import torch.distributed as dist
from torch import Tensor


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
