"""Sharded weights (FSDP2): unfreezing them, and loading the optimizer state of frozen ones."""

import re
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.fsdp import FSDPModule

M = TypeVar("M", bound=nn.Module)


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
