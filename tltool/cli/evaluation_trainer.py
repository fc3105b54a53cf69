"""The Trainer of `validate`, `test` and `predict`, on the devices of all ranks or of this one."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch import Trainer

from tltool.training.distributed.launched_ranks import LaunchedRanks, check_devices


def evaluation_trainer(
    given: Mapping[str, Any], ranks: LaunchedRanks, *, is_apart: bool = False
) -> Trainer:
    """Create the trainer of one process.

    Args:
        given: The section ``trainer``.
        ranks: What torchrun or srun has started.
        is_apart: Each rank works for itself, as in prediction; else they are a group.

    Raises:
        ValueError: If the devices contradict the processes that were started.
    """
    check_devices(given, ranks)
    options = {**given}
    if not options.get("logger"):
        # In any Slurm job Lightning would load the newest hpc_ckpt_* of this directory in place of
        # the checkpoint. Nothing is written.
        options["default_root_dir"] = options.get("default_root_dir") or os.devnull
    if ranks.world_size > 1:
        options |= _alone(given, ranks) if is_apart else _together(given, ranks)
    return Trainer(**options)


def _together(given: Mapping[str, Any], ranks: LaunchedRanks) -> dict[str, Any]:
    is_slurm = ranks.launcher == "srun"
    environment = [SLURMEnvironment(auto_requeue=False)] if is_slurm else []
    return {
        "devices": ranks.local_world_size,
        "num_nodes": ranks.world_size // ranks.local_world_size,
        "plugins": [*environment, *_as_list(given.get("plugins"))],
    }


def _alone(given: Mapping[str, Any], ranks: LaunchedRanks) -> dict[str, Any]:
    # Without its own environment Lightning takes what torchrun or srun has set, and joins all.
    plugins = [LightningEnvironment(), *_as_list(given.get("plugins"))]
    shows_bar = ranks.rank == 0 and given.get("enable_progress_bar") is not False
    uses_cuda = given.get("accelerator", "auto") in {"auto", "gpu", "cuda"}
    visible = torch.cuda.device_count() if uses_cuda else 0
    # Slurm may show each task its own GPU alone, which is number 0 then.
    devices: int | list[int] = [ranks.local_rank if visible > 1 else 0] if visible else 1
    return {
        "devices": devices,
        "num_nodes": 1,
        "plugins": plugins,
        "enable_progress_bar": shows_bar,
    }


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
