"""The Trainer of `validate`, `test` and `predict`, on the devices of all ranks or of this one."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from tltool.cli.trainer_section import num_devices
from tltool.training.distributed.cluster_environment import evaluation_options
from tltool.training.distributed.launch import Launch, check_launch
from tltool.training.distributed.strategies import limit_time_

_LEFT_OUT = (1, "1", -1, "-1", "auto")  # 1 is the default


def evaluation_trainer(
    given: Mapping[str, Any], launch: Launch, *, is_apart: bool = False
) -> Trainer:
    """Create the trainer of one process.

    Args:
        given: The section ``trainer``.
        launch: What torchrun or srun has started.
        is_apart: Each rank works for itself, as in prediction; else they are a group.
    """
    options = evaluation_options() | {k: v for k, v in given.items() if v is not None}
    options["plugins"] = [*evaluation_options()["plugins"], *_as_list(given["plugins"])]
    if launch.world_size > 1:
        options |= _of_this_rank(given, launch) if is_apart else _of_all_ranks(launch)
    trainer = Trainer(**options)
    limit_time_(trainer.strategy)
    return trainer


def check_devices(given: Mapping[str, Any]) -> None:
    """Refuse devices that contradict the processes that were started, before any waits for others.

    Args:
        given: The section ``trainer``.

    Raises:
        ValueError: With what to type.
    """
    is_left_out = given["devices"] in _LEFT_OUT
    check_launch(None if is_left_out else num_devices(given["devices"]), given["num_nodes"] or 1)


def _of_all_ranks(launch: Launch) -> dict[str, Any]:
    return {"devices": launch.per_node, "num_nodes": launch.num_nodes}


def _of_this_rank(given: Mapping[str, Any], launch: Launch) -> dict[str, Any]:
    uses_cuda = given["accelerator"] in {"auto", "gpu", "cuda"}
    visible = torch.cuda.device_count() if uses_cuda else 0
    # Slurm may show each task its own GPU alone, which is number 0 then.
    devices: int | list[int] = [launch.local_rank if visible > 1 else 0] if visible else 1
    return {
        "devices": devices,
        "num_nodes": 1,
        # The environment of the launcher would join all ranks.
        "plugins": [LightningEnvironment(), *_as_list(given["plugins"])],
        "enable_progress_bar": launch.rank == 0 and given["enable_progress_bar"] is not False,
    }


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
