"""What the section ``trainer`` of a configuration says about a run, without a Trainer."""

import math
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Union, get_args

import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry

from tltool.data.loading.batch_size import batches_per_epoch
from tltool.training.distributed.launch import check_launch
from tltool.training.distributed.strategies import check_strategy

_ALL_DEVICES = ("auto", "-1", -1)  # no set, for a list has no hash


def read_whole_numbers_first_() -> None:
    """Let Lightning's limits, such as ``limit_train_batches: 1``, stay one batch and not all.

    Python takes ``Optional[Union[float, int]]`` for ``Optional[Union[int, float]]`` where another
    package has made it before Lightning is imported, and a parser then reads 1 as 1.0.
    """
    hints = Trainer.__init__.__annotations__
    for name, hint in hints.items():
        if set(get_args(hint)) == {int, float, NoneType}:
            hints[name] = Union[int, float, None]  # noqa: UP007  # in this order


def take_launch(trainer: Namespace) -> None:
    """Write the number of processes that a launcher has started into the section, where left out.

    Raises:
        ValueError: If the section contradicts it, or its strategy does not work here.
    """
    check_strategy(trainer.strategy)
    is_left_out = trainer.devices in _ALL_DEVICES
    devices = None if is_left_out else num_devices(trainer.devices)
    launch = check_launch(devices, trainer.num_nodes)
    if launch.launcher:
        trainer.num_nodes = launch.num_nodes
        trainer.devices = launch.per_node if is_left_out else trainer.devices


def check_accelerator(accelerator: object) -> None:
    """Raise if the accelerator that was asked for is not there, before anything takes time.

    Raises:
        ValueError: With what to type.

    Example:
        >>> check_accelerator("auto")
    """
    words = str(accelerator).lower()
    # Its `get` makes one, which needs its packages.
    known = AcceleratorRegistry[words] if words in AcceleratorRegistry else None  # noqa: SIM401
    is_there = known is None or known["accelerator"].is_available()
    if words == "gpu":
        is_there = torch.cuda.is_available() or torch.backends.mps.is_available()
    if not is_there:
        raise ValueError(
            f"`trainer.accelerator: {accelerator}` is not there, or torch {torch.__version__} "
            "cannot use it. Leave it out, or set --trainer.accelerator auto, which takes what is "
            "there: a GPU before the CPU."
        )


def world_size(trainer: Mapping[str, Any]) -> int:
    """Return the number of devices of all nodes.

    Example:
        >>> world_size({"devices": "0,2", "num_nodes": 3})
        6
    """
    nodes: int = trainer["num_nodes"]
    return num_devices(trainer["devices"]) * nodes


def uses_gpu(trainer: Mapping[str, Any]) -> bool:
    """Tell whether the accelerator that was asked for is a GPU, or ``auto`` finds one.

    Example:
        >>> uses_gpu({"accelerator": "cpu"}), uses_gpu({"accelerator": "gpu"})
        (False, True)
    """
    accelerator = trainer["accelerator"]
    if accelerator == "auto":
        return torch.cuda.is_available() or torch.backends.mps.is_available()
    return accelerator in {"gpu", "cuda", "mps"}


def num_devices(devices: int | str | Sequence[int]) -> int:
    """Return the number of devices of a node that ``trainer.devices`` stands for.

    Example:
        >>> num_devices(4), num_devices("0,2"), num_devices([0, 1])
        (4, 2, 2)
    """
    if devices in _ALL_DEVICES:
        return max(torch.cuda.device_count(), 1)
    if isinstance(devices, str):
        return len(devices.split(",")) if "," in devices else int(devices)
    return devices if isinstance(devices, int) else len(devices)


def steps_per_epoch(trainer: Mapping[str, Any], num_images: int, batch_size: int) -> int:
    """Return the optimizer steps of an epoch, as `fit` will count them.

    Args:
        trainer: The section; ``limit_train_batches``, ``overfit_batches`` and
            ``accumulate_grad_batches`` may be absent.
        num_images: Number of training images of a device.
        batch_size: Number of images in a batch of a device.

    Example:
        >>> section = {"limit_train_batches": 0.5, "accumulate_grad_batches": 2}
        >>> steps_per_epoch({}, 100, 10), steps_per_epoch(section, 100, 10)
        (10, 3)
    """
    batches = batches_per_epoch(num_images, batch_size)
    limit = trainer.get("overfit_batches") or trainer.get("limit_train_batches")
    if isinstance(limit, int):
        batches = min(batches, limit)
    elif limit is not None:
        batches = int(batches * limit)
    accumulated: int = trainer.get("accumulate_grad_batches", 1)
    return math.ceil(batches / accumulated)


def log_interval(steps_per_epoch: int) -> int:
    """Return after how many steps to log, where a user does not say: ten times in an epoch.

    Lightning's 50 would log nothing of a run with fewer steps.

    Example:
        >>> log_interval(8), log_interval(200), log_interval(10_000)
        (1, 20, 50)
    """
    return min(max(steps_per_epoch // 10, 1), 50)


def describe_cut(
    trainer: Mapping[str, Any], steps_per_epoch: int, *, has_epochs: bool
) -> str | None:
    """Return how the epochs cut a length in steps or time short; ``None`` where they do not.

    Args:
        trainer: The section.
        steps_per_epoch: See `steps_per_epoch`.
        has_epochs: Whether the number of epochs is given, and not our usual one.

    Example:
        >>> describe_cut({"max_epochs": 2, "max_steps": 40}, 8, has_epochs=True)
        '2 epochs of 8 steps, fewer than max_steps 40. Set --trainer.max_epochs to train longer'
    """
    epochs, steps = trainer["max_epochs"], max_steps(trainer)
    words = f"{epochs} {'epoch' if epochs == 1 else 'epochs'}"
    if steps is not None and 0 < epochs * steps_per_epoch < steps:
        return (
            f"{words} of {steps_per_epoch:,} steps, fewer than max_steps {steps}. Set "
            "--trainer.max_epochs to train longer"
        )
    if trainer.get("max_time") is not None and steps is None and not has_epochs:
        return (
            f"{words} at most: max_time only ends them earlier. Set --trainer.max_epochs to train "
            "longer, or use --finetuning Auto --budget, which turns a time into epochs"
        )
    return None


def max_steps(trainer: Mapping[str, Any]) -> int | None:
    """Return after how many optimizer steps training ends at the latest; ``None`` for no limit."""
    steps: int = trainer.get("max_steps", -1)
    return steps if steps > 0 else None
