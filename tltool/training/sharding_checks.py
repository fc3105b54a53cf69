"""Checks of a Trainer that shards weights: what needs whole ones, and what FSDP2 does not do."""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn

from tltool.finetuning.schedule import Schedule
from tltool.surgery.adapters import has_lora
from tltool.training.distributed.fsdp2 import FSDP2Strategy
from tltool.training.find_callback import find_callback


def check_sharding(trainer: Trainer, module: LightningModule, schedule: Schedule) -> None:
    """Check that all that a run has works with sharded weights.

    Args:
        trainer: A Trainer with a ``ModelParallelStrategy``, before it shards the model.
        module: The model.
        schedule: A resolved schedule.

    Raises:
        ValueError: If something does not; the message says what to do instead.
    """
    for what in _needing_whole_weights(trainer, module, schedule):
        raise ValueError(
            f"{what}, which needs whole weights on each rank. Remove it, or set "
            "`trainer.strategy` to ddp."
        )
    if isinstance(trainer.strategy, FSDP2Strategy):
        _check_fsdp2(trainer, module)
    elif not is_overridden("configure_model", module):
        raise ValueError(
            "Lightning's ModelParallelStrategy leaves the sharding to `configure_model` of the "
            "task, which it has not. Set `trainer.strategy` to fsdp2, which shards its weights."
        )


def _needing_whole_weights(
    trainer: Trainer, module: LightningModule, schedule: Schedule
) -> Iterator[str]:
    for phase in schedule.phases:
        if phase.start_from_best:
            yield f"Phase {phase.name!r} has `start_from_best`"
    penalty = getattr(module, "l2_sp", None)
    if penalty is not None and penalty.strength:
        yield "The task has `l2_sp`"
    if has_lora(module):
        yield "The backbone has adapters of LoRA"
    average = find_callback(trainer, WeightAveraging)
    if average is not None:
        yield f"{type(average).__name__} keeps an average"


def _check_fsdp2(trainer: Trainer, module: LightningModule) -> None:
    """Refuse options of Trainer and backbone."""
    if trainer.precision == "16-mixed":
        raise ValueError(
            "fsdp2 does not scale a loss in float16. Set `trainer.precision` to bf16-mixed, or "
            "`trainer.strategy` to ddp."
        )
    if getattr(trainer.strategy, "_layer_sync", None) is not None:
        raise ValueError(
            "fsdp2 does not take `trainer.sync_batchnorm`. Leave it out: running statistics are "
            "averaged over the ranks after each step."
        )
    backbone: Any = module.get_submodule("backbone")
    if any(_is_compiled(member) for member in backbone.modules()):
        raise ValueError(
            "fsdp2 does not take `model.backbone.compile`. Leave it out, or set "
            "`trainer.strategy` to ddp."
        )
    for name, parameter in module.named_parameters():
        if parameter.ndim == 0:
            raise ValueError(
                f"fsdp2 cannot shard {name!r}, a single number. Set `trainer.strategy` to ddp, or "
                "choose another backbone."
            )


def _is_compiled(module: nn.Module) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None
