"""The Lightning door of fine-tuning: applies a schedule while the Trainer runs."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.groups import layer_groups
from tltool.finetuning.schedule import Phase, Schedule
from tltool.finetuning.strategies import FinetuningStrategy

log = logging.getLogger(__name__)


class Finetuning(Callback):
    """Freeze, unfreeze and set learning rates as a fine-tuning strategy says.

    The task has a ``backbone`` and a ``head`` (see `layer_groups`) and one optimizer that holds all
    parameters; its learning rates are the base that each phase multiplies. They are set before each
    batch from the progress of training alone, so a resumed run goes on where it was. An accumulated
    step takes the rate of its last batch; each rate is that of the step's middle, so no step has a
    rate of zero.

    Args:
        strategy: Makes the schedule from the task's layer groups, at the start of ``fit``.

    Raises:
        ValueError: When ``fit`` starts, if the schedule does not fit the model or the length of
            training.
    """

    schedule: Schedule
    """The schedule of the running fit."""

    def __init__(self, strategy: FinetuningStrategy) -> None:
        self.strategy = strategy
        self._groups: dict[str, list[str]] = {}
        self._group_of_param_group: list[str] = []
        self._phase: Phase | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the schedule, and freeze before a distributed strategy wraps the model."""
        if stage != "fit":
            return
        if trainer.max_epochs is None or trainer.max_epochs < 0:
            raise ValueError(
                "Phases are counted in epochs, but the Trainer has no `max_epochs`. Set it; "
                "`max_steps` may end training earlier."
            )
        self._groups = layer_groups(pl_module)
        names = list(self._groups)
        schedule = self.strategy.schedule(names, trainer.max_epochs)
        self.schedule = schedule.resolve(names, trainer.max_epochs)
        self._phase = None
        set_trainable_(pl_module, self._groups, self.schedule.phases[0].trains)
        pl_module.train()  # Modes follow in `on_train_start`: Lightning warns of eval mode before.

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the base learning rates, before a checkpoint brings those of its last step."""
        if trainer.lr_scheduler_configs:
            raise ValueError(
                "The task has a learning-rate scheduler, and the phases set learning rates too. "
                "Return only the optimizer from `configure_optimizers`, and use `warmup` and "
                "`decay` of the fine-tuning strategy."
            )
        _check_optimizers(trainer.optimizers, pl_module)
        self._group_of_param_group = _match_param_groups(
            trainer.optimizers[0], pl_module, self._groups
        )
        for param_group in trainer.optimizers[0].param_groups:
            param_group.setdefault("initial_lr", param_group["lr"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the phase; an epoch resumed in its middle gets no `on_train_epoch_start`."""
        self._apply(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the phase of this epoch."""
        self._apply(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the learning rate of each group, and log it when the logger's turn comes."""
        phase = self.schedule.phase_at(trainer.current_epoch)
        factor = phase.lr_factor(self._progress(trainer, phase, batch_idx))
        param_groups = trainer.optimizers[0].param_groups
        for group, param_group in zip(self._group_of_param_group, param_groups, strict=True):
            scale = phase.group_lr_scale(group) if group in phase.trains else 0.0
            param_group["lr"] = param_group["initial_lr"] * scale * factor
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if trainer.loggers and every and (trainer.global_step + 1) % every == 0:
            names = self._group_of_param_group
            rates = {f"lr/{g}": p["lr"] for g, p in zip(names, param_groups, strict=True)}
            pl_module.log_dict(rates, on_step=True, on_epoch=False)

    def _progress(self, trainer: Trainer, phase: Phase, batch_idx: int) -> float:
        """Return the share of the phase that is done in the middle of a batch's step."""
        start, end = self.schedule.span(phase)
        batches = trainer.num_training_batches
        if math.isinf(batches):  # An iterable dataset without a length: one rate for each epoch.
            return (trainer.current_epoch + 0.5 - start) / (end - start)
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        if trainer.max_steps > 0:
            end = min(end, trainer.max_steps / steps)
        done = trainer.current_epoch + (batch_idx // trainer.accumulate_grad_batches + 0.5) / steps
        return min((done - start) / (end - start), 1.0)

    def _apply(self, trainer: Trainer, pl_module: LightningModule) -> None:
        phase = self.schedule.phase_at(trainer.current_epoch)
        set_trainable_(pl_module, self._groups, phase.trains)
        if phase is self._phase:
            return
        self._phase = phase
        if trainer.is_global_zero:
            log.info(describe_phase(phase, pl_module, trainer.optimizers[0]))


def describe_phase(phase: Phase, module: LightningModule, optimizer: Optimizer) -> str:
    """Return a sentence that says what trains in a phase, once it was applied to the module."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    total, trained = sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)
    base = sorted({group["initial_lr"] for group in optimizer.param_groups})
    scales = sorted({phase.group_lr_scale(group) for group in phase.trains})
    rates = " to ".join(
        f"{rate:g}" for rate in dict.fromkeys((base[0] * scales[0], base[-1] * scales[-1]))
    )
    return (
        f"Phase {phase.name}: trains {', '.join(phase.trains)} ({trained:,} of {total:,} "
        f"parameters) for {phase.epochs} epoch{'s' if phase.epochs != 1 else ''}, lr {rates}."
    )


def _check_optimizers(optimizers: Sequence[Optimizer], module: LightningModule) -> None:
    """Check that one optimizer holds each parameter."""
    if len(optimizers) != 1:
        raise ValueError(f"Fine-tuning needs one optimizer, but the task has {len(optimizers)}.")
    # By identity: two fresh batch norms have equal values.
    held = {id(p) for group in optimizers[0].param_groups for p in group["params"]}
    missing = [name for name, p in module.named_parameters() if id(p) not in held]
    if missing:
        raise ValueError(
            f"The optimizer lacks {len(missing)} parameters, among them {missing[0]!r}. Give it "
            "all of them, frozen ones too, for example by `param_groups(self, weight_decay)`."
        )


def _match_param_groups(
    optimizer: Optimizer, module: LightningModule, groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the layer group of each of the optimizer's parameter groups."""
    parameters = dict(module.named_parameters())
    owner = {id(parameters[name]): group for group, names in groups.items() for name in names}
    matched = [
        {owner[id(p)] for p in group["params"] if id(p) in owner}
        for group in optimizer.param_groups
    ]
    for number, names in enumerate(matched):
        if len(names) != 1:
            raise ValueError(
                f"Parameter group {number} of the optimizer holds "
                f"{', '.join(sorted(names)) or 'no layer group'}, but each needs a learning rate "
                "of its own. Make the groups by `param_groups(self, weight_decay)`."
            )
    return [names.pop() for names in matched]
