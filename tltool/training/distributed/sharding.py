"""Sharded weights (FSDP2): making them, unfreezing them, and the optimizer state of frozen ones."""

import re
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

M = TypeVar("M", bound=nn.Module)


def shard_(task: nn.Module, mesh: DeviceMesh) -> list[str]:
    """Shard each weight of a task over the ranks (Zhao et al., 2023).

    A block of the backbone is gathered when it computes, the rest of it and the head when they
    begin (https://arxiv.org/abs/2304.11277). FSDP2 shards no weights in the ``channels_last``
    memory format, so they become contiguous.

    Args:
        task: With a ``backbone``, whose ``layer_groups(coarse=False)`` tells its blocks, and a
            ``head``; the same on all ranks.
        mesh: The ranks, in one dimension.

    Returns:
        The names of the sharded modules; none if the task was sharded before.
    """
    if is_sharded(task):
        return []
    backbone: Any = task.get_submodule("backbone")  # With `layer_groups`.
    names = [*(f"backbone.{block}" for block in _blocks(backbone)), "backbone", "head"]
    task.to(memory_format=torch.contiguous_format)
    for name in names:
        module = task.get_submodule(name)
        if any(True for _ in module.parameters()):
            fully_shard(module, mesh=mesh)
    return names


def is_sharded(module: nn.Module) -> bool:
    """Tell whether a model has sharded weights."""
    return any(isinstance(member, FSDPModule) for member in module.modules())


def whole(tensor: Any) -> Any:
    """Return a sharded tensor as a whole one, gathered by all ranks; anything else as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share_like(tensor: Tensor, sharded: Tensor) -> Tensor:
    """Return this rank's share of a whole tensor, cut as another one of its shape is."""
    if not isinstance(sharded, DTensor) or tensor.shape != sharded.shape:
        return tensor
    # Each rank has read the same checkpoint: nothing is sent.
    return distribute_tensor(
        tensor.to(sharded.device), sharded.device_mesh, sharded.placements, src_data_rank=None
    )


def _blocks(backbone: Any) -> list[str]:
    """Return the modules that a backbone repeats, as ``model.blocks.3``, inner ones first.

    Where it has no such lists, its layer groups, as ``model.layer1``.
    """
    modules = dict(backbone.named_modules())
    groups = (f"model.{name}" for name in backbone.layer_groups(coarse=False))
    paths = [path for path in groups if not isinstance(modules.get(path), nn.ModuleList | None)]
    members = [path for path in paths if path.rpartition(".")[2].isdigit()]
    return sorted(members or paths, key=lambda path: -path.count("."))


def reshard_(module: M) -> M:
    """Make a model hold its sharded parameters again, which are those that the optimizer knows.

    After a forward pass without a backward one, as in validation, the outermost sharded modules
    hold gathered copies. Freezing or unfreezing these has no effect from the next forward pass on.

    Returns:
        ``module``.
    """
    for member in module.modules():
        if isinstance(member, FSDPModule):
            member.reshard()
    return module


def load_all_optimizer_state_(strategy: Any, module: nn.Module) -> None:
    """Make a strategy load the optimizer state of all parameters, those frozen at that moment too.

    PyTorch loads the state of a sharded optimizer only for parameters that require a gradient at
    that moment, and fails for one of these that has no state. So exactly those with state are made
    trainable in front of a load, whatever trains after it.

    Args:
        strategy: Lightning's ``ModelParallelStrategy``.
        module: The model.
    """
    load = strategy.load_checkpoint

    # A wrapper, for no hook in front of the load knows the path.
    def load_checkpoint(checkpoint_path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with_state = parameters_with_state(strategy.broadcast(checkpoint_path), module)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in with_state)
        checkpoint: dict[str, Any] = load(checkpoint_path, *args, **kwargs)
        return checkpoint

    strategy.load_checkpoint = load_checkpoint


def parameters_with_state(checkpoint: str | Path, module: nn.Module) -> set[str]:
    """Return the names of the parameters with optimizer state in a checkpoint.

    Args:
        checkpoint: A directory of shards or one file, as Lightning's ``ModelParallelStrategy``
            saves them.
        module: The model.
    """
    names = [name for name, _ in module.named_parameters()]
    if Path(checkpoint).is_dir():
        keys = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
        prefix = re.compile(r"optimizer_\d+\.state\.")
        with_state = {prefix.sub("", key).rpartition(".")[0] for key in keys if prefix.match(key)}
        return with_state.intersection(names)
    states = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    ids = {key for state in states["optimizer_states"] for key in state["state"]}
    # One file numbers the parameters as the model does.
    return {name for number, name in enumerate(names) if number in ids or name in ids}
