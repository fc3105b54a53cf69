"""Checks of a Trainer: strategies, callbacks and options that do not work with phases."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.finetuning.schedule import Schedule
from tltool.training.find_callback import find_callback

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
    _check_strategy(trainer, schedule)
    _check_synchronized_norms(trainer, module)
    if find_callback(trainer, StochasticWeightAveraging):
        raise ValueError(
            "StochasticWeightAveraging does not work with fine-tuning phases: it forgets the "
            "running statistics of batch norms, and those of frozen ones are not computed again. "
            "Remove it, or use EMAWeightAveraging, which keeps them."
        )


def _check_strategy(trainer: Trainer, schedule: Schedule) -> None:
    supported = SingleDeviceStrategy | DDPStrategy | ModelParallelStrategy
    if not isinstance(trainer.strategy, supported):
        raise ValueError(
            f"Fine-tuning phases do not work with {type(trainer.strategy).__name__}, which fixes "
            "what trains when it wraps the model. Set `trainer.strategy` to ddp, or to "
            "ModelParallelStrategy for sharded weights."
        )
    best = next((phase.name for phase in schedule.phases if phase.start_from_best), None)
    if best is not None and isinstance(trainer.strategy, ModelParallelStrategy):
        raise ValueError(
            f"Phase {best!r} has `start_from_best`, which needs whole weights on each rank. Remove "
            "it, or set `trainer.strategy` to ddp."
        )


def _check_synchronized_norms(trainer: Trainer, module: LightningModule) -> None:
    """Refuse a conversion that would lose what a batch norm does besides.

    PyTorch makes a plain batch norm of each (https://github.com/pytorch/pytorch/issues/187298), so
    that timm's EfficientNet loses its activations without an error.
    """
    if not isinstance(getattr(trainer.strategy, "_layer_sync", None), TorchSyncBatchNorm):
        return
    norms = (member for member in module.modules() if isinstance(member, _BatchNorm))
    kinds = sorted({type(norm).__name__ for norm in norms if type(norm) not in _SYNCHRONIZABLE})
    if kinds:
        raise ValueError(
            f"`trainer.sync_batchnorm` would replace {', '.join(kinds)} by a plain batch norm, and "
            "the activation inside it would be lost. Leave the option out; where the share of a "
            "device is small, `batch_norm: frozen` in the fine-tuning strategy needs no statistics "
            "of the batch."
        )
