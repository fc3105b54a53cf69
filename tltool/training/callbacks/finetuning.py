"""Lightning callback for fine-tuning: freezes, unfreezes and sets learning rates by a schedule."""

import gc
import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.phase import Phase
from tltool.finetuning.plan import trained_by
from tltool.finetuning.plan_warnings import schedule_warnings
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.finetuning.timeline import Timeline
from tltool.models.layer_groups import layer_groups
from tltool.training.distributed.fsdp2 import FSDP2Strategy
from tltool.training.distributed.rank_agreement import (
    average_batch_norm_,
    check_same_trainable,
    check_same_weights,
)
from tltool.training.distributed.sharding import load_all_optimizer_state_, reshard_
from tltool.training.epoch_position import (
    end_resumed_epoch_,
    is_epoch_over,
    is_validation_due,
    normalize_,
    take_up_,
)
from tltool.training.phase_progress import PhaseProgress, copy_trained, restore_best_
from tltool.training.phase_rates import PhaseRates
from tltool.training.position_state import PositionState
from tltool.training.quiet_lightning import quiet_lightning
from tltool.training.scratch_start import leave_out_start_
from tltool.training.strategy_surgery import edit_for_strategy_
from tltool.training.trainer_checks import check_trainer
from tltool.training.trainer_timeline import (
    trainer_schedule,
    trainer_step,
    trainer_steps_per_epoch,
    trainer_timeline,
)

log = logging.getLogger(__name__)


class Finetuning(Callback):
    """Freeze, unfreeze and set learning rates as a fine-tuning strategy says.

    The task has a ``backbone`` and a ``head`` (see `layer_groups`) and one optimizer that holds all
    parameters (see `param_groups`); its learning rates are the base that each phase multiplies.
    They are set before each batch from the progress of training alone, so a resumed run continues
    exactly. An accumulated step has one learning rate, and with a dataset without a length, so has
    each epoch.

    Under DDP the wrapper is rebuilt when other parameters train, because its reducer sums only the
    gradients that it knew at the wrap
    (https://github.com/Lightning-AI/pytorch-lightning/issues/20340). Ranks compare what trains at
    each phase, and their weights at each phase and epoch. Running statistics of batch norms are
    averaged over the ranks after each batch, so that each checkpoint and each strategy has one; not
    when a checkpoint is written, so that saving changes nothing.

    Args:
        strategy: Makes the schedule from the task's layer groups, at the start of ``fit``.

    Raises:
        ValueError: When ``fit`` starts, if the schedule does not fit the model or the training.
        TypeError: When ``fit`` starts, if the strategy edits the backbone of no ImageTask.
        RuntimeError: During ``fit``, if ranks disagree.
    """

    #: The resolved schedule of the running fit.
    schedule: Schedule
    #: The phase in effect, once training has started.
    phase: Phase | None
    _rates: PhaseRates

    def __init__(self, strategy: FinetuningStrategy) -> None:
        quiet_lightning()
        self.strategy = strategy
        self._reset()

    def _reset(self) -> None:
        self.phase = None
        self._groups: dict[str, list[str]] = {}
        self._timeline = Timeline((), steps_per_epoch=0)
        self._reduced: set[str] = set()
        self._live_norms: list[_BatchNorm] = []
        self._progress = PhaseProgress()
        self._position = PositionState()

    def state_dict(self) -> dict[str, Any]:
        """Return the progress of a phase that a metric ends."""
        return vars(self._progress).copy()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the progress from a checkpoint."""
        self._progress = PhaseProgress(**state_dict)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store what Lightning's counters do not tell of the position in the epoch."""
        self._position.save(checkpoint, trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Correct Lightning's counters, before the Trainer takes them over."""
        if "loops" in checkpoint:  # There are none beside weights alone.
            self._position = PositionState.load(checkpoint)
            normalize_(checkpoint["loops"]["fit_loop"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the schedule, and freeze before a distributed strategy wraps the model."""
        if stage != "fit":
            return
        self._reset()
        edit_for_strategy_(pl_module, self.strategy)
        self._groups = layer_groups(pl_module)
        self.schedule = trainer_schedule(self.strategy, list(self._groups), trainer)
        check_trainer(trainer, pl_module, self.schedule)
        for phase in self.schedule.phases:
            check_same_trainable(trained_by(phase, pl_module, self._groups))
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            batch = getattr(getattr(trainer, "datamodule", None), "batch_size", None)
            share = batch // trainer.world_size if isinstance(batch, int) else None
            for warning in schedule_warnings(self.schedule, pl_module, batch_per_device=share):
                log.warning("%s", warning)
        self._set_trainable(pl_module, self.schedule.phases[0])
        if leave_out_start_(pl_module) and trainer.is_global_zero:
            log.info(
                "The weights are random and batch norms learn their statistics, so the head begins "
                "as its initializer says, not as the probe."
            )
        self._reduced = _trained(pl_module)
        for name in ("backbone", "head"):  # Lightning warns of eval mode before `on_train_start`.
            pl_module.get_submodule(name).train()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the base learning rates, before a checkpoint brings those of its last step."""
        if len(trainer.optimizers) != 1 or trainer.lr_scheduler_configs:
            raise ValueError(
                "Fine-tuning needs one optimizer and no learning-rate scheduler, but the task has "
                f"{len(trainer.optimizers)} and {len(trainer.lr_scheduler_configs)}. Return only "
                "the optimizer from `configure_optimizers`: `warmup` and `decay` of the strategy "
                "set its learning rates."
            )
        self._rates = PhaseRates(
            trainer.optimizers[0], pl_module, self._groups, self.schedule.phases
        )
        is_sharded = isinstance(trainer.strategy, ModelParallelStrategy)
        if is_sharded and not isinstance(trainer.strategy, FSDP2Strategy):
            load_all_optimizer_state_(trainer.strategy, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the phase; an epoch resumed in its middle gets no `on_train_epoch_start`."""
        self._progress.forget_changed_end(self.schedule.phases)
        self._lay_out(trainer)
        trainer.should_stop |= self.is_over(trainer.current_epoch)
        batches = take_up_(trainer, self._position.validated)
        # As it was when the checkpoint was written: the next batch may begin another phase.
        self._apply(trainer, pl_module, batch_idx=max(batches - 1, 0))
        self._position.restore_(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the phase of this epoch."""
        self._apply(trainer, pl_module, batch_idx=0)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the learning rate of each group, and log it when the logger's turn comes."""
        # Not at the start of the epoch, where later callbacks may still change it.
        if trainer_steps_per_epoch(trainer) != self._timeline.steps_per_epoch:
            raise ValueError(
                "The number of optimizer steps in an epoch has changed, and phases are laid out in "
                "steps. Keep `accumulate_grad_batches` and the length of the training data."
            )
        step = trainer_step(self._timeline, trainer, batch_idx)
        span = self._timeline.at(step)
        if span.phase is not self.phase:
            self._apply(trainer, pl_module, batch_idx)
        lrs = self._rates.set_(span.phase, span.progress(step))
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if trainer.loggers and every and (trainer.global_step + 1) % every == 0:
            pl_module.log_dict(lrs, on_step=True, on_epoch=False)

    def on_train_batch_end(self, *args: Any) -> None:
        """Give all ranks the same running statistics, as a checkpoint has one."""
        average_batch_norm_(self._live_norms)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the metric of a phase that ends by one, before a checkpoint is written."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._position.note_validation(trainer)
        # One that only the end of training brings would not be there without the end.
        if is_validation_due(trainer) or not trainer.should_stop:
            self._watch(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the weights of the ranks, and stop when a metric has ended the last phase."""
        end_resumed_epoch_(trainer)
        check_same_weights(pl_module)
        if not trainer.enable_validation and is_epoch_over(trainer):
            self._watch(trainer, pl_module)
        trainer.should_stop |= self.is_over(trainer.current_epoch + 1)

    def is_over(self, epoch: int) -> bool:
        """Tell whether a metric has ended the last phase in front of an epoch."""
        ends = [span.end for span in self._timeline.spans[-1:]]
        done = epoch * self._timeline.steps_per_epoch
        return bool(self._progress.ended) and any(done >= end for end in ends)

    def phases_of_epoch(self, epoch: int) -> list[Phase]:
        """Return the phases that train in an epoch; before training starts, the first one."""
        phases = self._timeline.phases_of_epoch(epoch)
        return phases or [self.phase or self.schedule.phases[0]]

    def num_epochs(self, phase: Phase) -> float:
        """Return how many epochs a phase has; 0 before training starts."""
        steps = sum(span.end - span.start for span in self._timeline.spans if span.phase is phase)
        return steps / max(self._timeline.steps_per_epoch, 1)

    def _lay_out(self, trainer: Trainer) -> None:
        self._timeline = trainer_timeline(self.schedule, trainer, ended=self._progress.ended)

    def _apply(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> None:
        """Bring the phase of a batch into effect, also when it is in effect already."""
        phase = self._timeline.at(trainer_step(self._timeline, trainer, batch_idx)).phase
        reshard_(pl_module)
        if phase.name != self._progress.phase:
            if phase.start_from_best:
                restore_best_(pl_module, self._progress.best_weights, trainer.optimizers[0])
            self._progress.enter(phase.name, self.schedule.phases)
        self._set_trainable(pl_module, phase)
        if phase is self.phase:
            return
        self.phase = phase
        trained = _trained(pl_module)
        check_same_trainable(trained)
        check_same_weights(pl_module)  # Before a new wrapper gives all ranks those of rank 0.
        if isinstance(trainer.strategy, DDPStrategy) and trained != self._reduced:
            _rebuild_reducer(trainer.strategy, pl_module)
            self._reduced = trained
        if trainer.is_global_zero:
            log.info(self._describe(phase, pl_module))

    def _set_trainable(self, pl_module: LightningModule, phase: Phase) -> None:
        kinds = {group: phase.group_parameters(group) for group in phase.groups}
        set_trainable_(pl_module, self._groups, kinds, batch_norm=phase.batch_norm)
        norms = (module for module in pl_module.modules() if isinstance(module, _BatchNorm))
        self._live_norms = [norm for norm in norms if norm.training]

    def _watch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        phase = self.phase
        if phase is None or phase.until is None or phase.name in self._progress.ended:
            return
        metric = phase.until.metric
        if metric not in trainer.callback_metrics:
            raise ValueError(
                f"Phase {phase.name!r} ends by {metric!r}, which the task does not log. Choose one "
                f"of: {', '.join(sorted(trainer.callback_metrics))}."
            )
        # Ranks must decide alike, also where a metric is not synchronized.
        value = trainer.strategy.broadcast(float(trainer.callback_metrics[metric]))
        improved = self._progress.observe(phase.until, value, trainer.current_epoch)
        following = self.schedule.phases[self.schedule.phases.index(phase) + 1 :]
        if improved and following and following[0].start_from_best:
            self._progress.best_weights = copy_trained(pl_module, self._live_norms)
        if phase.name in self._progress.ended:
            self._lay_out(trainer)

    def _describe(self, phase: Phase, pl_module: LightningModule) -> str:
        total = sum(p.numel() for p in pl_module.parameters())
        trained = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        lrs = self._rates.trained(phase)
        extremes = dict.fromkeys(f"{lr:g}" for lr in (min(lrs), max(lrs)))
        return (
            f"Phase {phase.name}: trains {phase.describe_groups(len(self._groups))} ({trained:,} "
            f"of {total:,} parameters) {phase.describe_length()}, lr {' to '.join(extremes)}."
        )


def _rebuild_reducer(strategy: DDPStrategy, module: LightningModule) -> None:
    """Wrap a module for DDP anew, so that its reducer sums what requires a gradient now."""
    module.zero_grad(set_to_none=True)  # Gradients may be views of the old buckets.
    strategy.model = module
    gc.collect()  # The old reducer's hooks on the gradients must be gone.
    strategy.configure_ddp()


def _trained(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}
