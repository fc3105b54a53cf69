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
    supported = SingleDeviceStrategy | DDPStrategy | ModelParallelStrategy
    if not isinstance(trainer.strategy, supported):
        raise ValueError(
            f"Fine-tuning phases do not work with {type(trainer.strategy).__name__}, which fixes "
            "what trains when it wraps the model. Set `trainer.strategy` to ddp, or to "
            "ModelParallelStrategy for sharded weights."
        )
    best = [phase.name for phase in schedule.phases if phase.start_from_best]
    if best and isinstance(trainer.strategy, ModelParallelStrategy):
        raise ValueError(
            f"Phase {best[0]!r} has `start_from_best`, which needs whole weights on each rank. "
            "Remove it, or set `trainer.strategy` to ddp."
        )
    if find_callback(trainer, StochasticWeightAveraging):
        raise ValueError(
            "StochasticWeightAveraging does not work with fine-tuning phases: it loses the running "
            "statistics of frozen batch norms. Remove it, or use EMAWeightAveraging."
        )
    if isinstance(getattr(trainer.strategy, "_layer_sync", None), TorchSyncBatchNorm):
        _check_synchronized_norms(module)


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
            "the activation inside it would be lost. Leave the option out; `batch_norm: frozen` in "
            "the fine-tuning strategy needs no statistics of the batch."
        )
