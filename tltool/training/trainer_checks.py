"""Checks of a Trainer: strategies, callbacks and options that do not work with phases."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
)
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool._objective import check_mode
from tltool.finetuning.schedule import Schedule
from tltool.training.average_start import AverageStart
from tltool.training.find_callback import find_callback
from tltool.training.sharding_checks import check_sharding

REFUSED_CALLBACKS: dict[type[Callback], str] = {
    StochasticWeightAveraging: (
        "it loses the running statistics of frozen batch norms. Remove it, or use "
        "EMAWeightAveraging"
    ),
    BaseFinetuning: (
        "it freezes and unfreezes too, and both would decide what trains. Remove it, and set "
        "`finetuning`, for example to LPFT with probe_epochs"
    ),
    LearningRateFinder: (
        "it trains at other learning rates than theirs. Remove it; `tltool plan --lr_range` finds "
        "a learning rate"
    ),
    BatchSizeFinder: (
        "it trains before their first step. Remove it, and set `data.batch_size`; "
        "`trainer.accumulate_grad_batches` where memory is short"
    ),
    ModelPruning: (
        "it replaces the parameters that they freeze and train by name. Remove it, and prune "
        "the trained network"
    ),
}
"""Callbacks that do not work with phases: why, and what to do instead."""

_SYNCHRONIZABLE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def check_trainer(trainer: Trainer, module: LightningModule, schedule: Schedule) -> None:
    """Check that a Trainer's strategy, callbacks and options work with fine-tuning phases.

    Args:
        trainer: The Trainer, before it wraps the model.
        module: The model.
        schedule: A resolved schedule.

    Raises:
        ValueError: If one of them does not; the message says what to do instead.
    """
    supported = SingleDeviceStrategy | DDPStrategy | ModelParallelStrategy
    if not isinstance(trainer.strategy, supported):
        raise ValueError(
            f"Fine-tuning phases do not work with {type(trainer.strategy).__name__}, which fixes "
            "what trains when it wraps the model. Set `trainer.strategy` to ddp, or to "
            "fsdp2 for sharded weights."
        )
    if isinstance(trainer.strategy, ModelParallelStrategy):
        check_sharding(trainer, module, schedule)
    _check_callbacks(trainer)
    if isinstance(getattr(trainer.strategy, "_layer_sync", None), TorchSyncBatchNorm):
        _check_synchronized_norms(module)


def _check_callbacks(trainer: Trainer) -> None:
    """Refuse callbacks that would work against the phases, or keep and stop at the worst."""
    for kind, why in REFUSED_CALLBACKS.items():
        found = find_callback(trainer, kind)
        if found is not None:
            name = type(found).__name__
            raise ValueError(f"{name} does not work with fine-tuning phases: {why}.")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
        if isinstance(callback, EarlyStopping | ModelCheckpoint) and callback.monitor is not None:
            check_mode(type(callback).__name__, callback.monitor, callback.mode)
    accumulation = find_callback(trainer, GradientAccumulationScheduler)
    if accumulation is not None and accumulation.going_to_accumulate_grad_batches():
        steps = max(accumulation.scheduling.values())
        raise ValueError(
            "GradientAccumulationScheduler changes the number of optimizer steps in an epoch, and "
            "phases are laid out in steps. Keep `accumulate_grad_batches`: remove the callback, "
            f"and set `trainer.accumulate_grad_batches` to one number, such as {steps}."
        )
    average = find_callback(trainer, EMAWeightAveraging)
    is_late = average and (average.update_starting_at_step or average.update_starting_at_epoch)
    if is_late and not find_callback(trainer, AverageStart):
        raise ValueError(
            "EMAWeightAveraging validates and saves the untrained network until it starts. Put "
            "tltool.training.average_start.AverageStart() in front of it, or let it "
            "start at the first step."
        )


def _check_synchronized_norms(module: LightningModule) -> None:
    """Refuse a conversion that would lose what a batch norm does besides.

    PyTorch makes a plain batch norm of each (https://github.com/pytorch/pytorch/issues/187298), so
    that timm's EfficientNet loses its activations without an error.
    """
    norms = (member for member in module.modules() if isinstance(member, _BatchNorm))
    kinds = sorted({type(norm).__name__ for norm in norms if type(norm) not in _SYNCHRONIZABLE})
    if kinds:
        raise ValueError(
            f"`trainer.sync_batchnorm` would replace {', '.join(kinds)} by a plain batch norm, and "
            "the activation inside it would be lost. Leave the option out; `batch_norm: eval` in "
            "the fine-tuning strategy needs no statistics of the batch."
        )
