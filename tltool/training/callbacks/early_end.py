"""Lightning callback for training that ends early: stopping inside a phase that is not the last."""

import logging
from collections.abc import Iterator, Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer

from tltool.finetuning.phase import Phase
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.epoch_position import has_ended
from tltool.training.find_callback import find_callback

log = logging.getLogger(__name__)


class EarlyEnd(Callback):
    """Keep ``EarlyStopping`` for the last phase, and warn where a phase never ran.

    A phase in front of the last has a length of its own, in epochs, in steps or by a metric (see
    ``Until``). Lightning's ``EarlyStopping`` knows no phases and would end the whole training in a
    probe, so its patience counts anew from the last phase on. Of a run that is resumed, the
    patience that is given now counts, and not that in the checkpoint; if it is used up, nothing is
    left to train. It stands behind it in the list of callbacks.
    """

    def __init__(self) -> None:
        #: Whether this fit has trained anything.
        self.has_trained = False
        self._patience: list[int] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the patience, before a checkpoint brings that of its run."""
        self._patience = [stopping.patience for stopping in _all_stopping(trainer)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the patience, and say from which phase on it counts."""
        for stopping, patience in zip(_all_stopping(trainer), self._patience, strict=True):
            stopping.patience = patience
        trainer.should_stop |= _is_patience_used_up(trainer)
        self.has_trained = not has_ended(trainer)
        finetuning = find_callback(trainer, Finetuning)
        if finetuning is None or not trainer.is_global_zero:
            return
        phases = finetuning.schedule.phases
        if len(phases) > 1 and find_callback(trainer, EarlyStopping):
            log.info(
                "EarlyStopping counts from phase %r on: the phases in front of it keep their "
                "length. To end one by a metric, give it `until` (ChosenGroups).",
                phases[-1].name,
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the count begin anew with the last phase."""
        self._restart_count(trainer, trainer.current_epoch - 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what is monitored, while nothing is lost yet; count nothing in earlier phases."""
        metrics = trainer.callback_metrics
        for stopping in _all_stopping(trainer) if trainer.sanity_checking and metrics else ():
            name = stopping.monitor
            if stopping.strict and name not in metrics and not name.startswith("train/"):
                raise ValueError(
                    f"EarlyStopping monitors {name!r}, which is not measured. Set `monitor` to one "
                    f"of: {', '.join(sorted(metrics))}."
                )
        self._restart_count(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count nothing in earlier phases."""
        self._restart_count(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of phases that never ran."""
        finetuning = find_callback(trainer, Finetuning)
        is_try = trainer.fast_dev_run  # type: ignore[attr-defined]  # set by a connector
        if finetuning is None or finetuning.phase is None or is_try or not trainer.is_global_zero:
            return
        phases = finetuning.schedule.phases
        left = phases[phases.index(finetuning.phase) + 1 :]
        if left:
            log.warning(
                "Training ended in phase %r (%s): %s never ran, so the result is that of the "
                "phases in front. Resume from last.ckpt to train the rest.",
                finetuning.phase.name,
                end_reason(trainer),
                ", ".join(repr(phase.name) for phase in left),
            )

    def _restart_count(self, trainer: Trainer, epoch: int) -> None:
        """Forget what was counted, if an epoch has ended in front of the last phase."""
        finetuning = find_callback(trainer, Finetuning)
        if finetuning is None or trainer.state.fn != "fit" or epoch < 0:
            return
        running = finetuning.phases_of_epoch(epoch)[-1]
        if running.name == finetuning.schedule.phases[-1].name:
            return
        for stopping in _all_stopping(trainer):
            stopping.wait_count = 0
            worst = torch.inf if stopping.mode == "min" else -torch.inf
            stopping.best_score = torch.tensor(worst)


def end_reason(trainer: Trainer) -> str:
    """Return why training has ended, in words, by what the Trainer's limits and callbacks say."""
    max_epochs, max_steps = trainer.max_epochs, trainer.max_steps
    if 0 <= max_steps <= trainer.global_step:
        return f"max_steps {max_steps} is reached; raise trainer.max_steps"
    if max_epochs is not None and 0 <= max_epochs <= trainer.current_epoch:
        return f"max_epochs {max_epochs} is reached; raise trainer.max_epochs"
    finetuning = find_callback(trainer, Finetuning)
    if finetuning is not None and finetuning.is_over(trainer.current_epoch):
        return f"the metric of phase {finetuning.schedule.phases[-1].name!r} has ended it"
    if not trainer.limit_train_batches:
        return "limit_train_batches is 0"
    remaining = [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)]  # type: ignore[attr-defined]
    if any(seconds is not None and seconds <= 0 for seconds in remaining):
        return "max_time is used up, which counts over resumes; raise trainer.max_time"
    reasons = [stopping.stopping_reason_message for stopping in _all_stopping(trainer)]
    said = next((reason for reason in reasons if reason), None)
    return f"EarlyStopping: {said.partition('. Signaling')[0]}" if said else "a callback stopped it"


def stops_on_validation(callbacks: Sequence[Callback] | Callback | None) -> bool:
    """Tell whether an ``EarlyStopping`` chooses on the validation images when training ends.

    Args:
        callbacks: As a Trainer takes them.

    Example:
        >>> stops_on_validation(EarlyStopping("val/loss"))
        True
        >>> stops_on_validation([EarlyStopping("train/loss")])
        False
    """
    given = [callbacks] if isinstance(callbacks, Callback) else callbacks or []
    stopping = [each for each in given if isinstance(each, EarlyStopping)]
    return any(not each.monitor.startswith("train/") for each in stopping)


def ends_on_validation(
    callbacks: Sequence[Callback] | Callback | None, phases: Sequence[Phase]
) -> bool:
    """Tell whether the validation images choose when training, or a phase of it, ends.

    Args:
        callbacks: As a Trainer takes them.
        phases: Of its schedule.

    Example:
        >>> from tltool.finetuning.phase import Until
        >>> probe = Phase("probe", ("head",), until=Until("val/loss", max_epochs=5))
        >>> ends_on_validation([], [probe, Phase("full", ("backbone.*", "head"))])
        True
    """
    ends = [phase.until.metric for phase in phases if phase.until]
    return stops_on_validation(callbacks) or any(not name.startswith("train/") for name in ends)


def _is_patience_used_up(trainer: Trainer) -> bool:
    """Tell whether the run that is resumed was ended by it behind an epoch."""
    counts = [(each.wait_count, each.patience) for each in _all_stopping(trainer)]
    is_used_up = any(0 < count >= patience for count, patience in counts)
    return is_used_up and not trainer.fit_loop.restarted_mid_epoch


def _all_stopping(trainer: Trainer) -> Iterator[EarlyStopping]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return (each for each in callbacks if isinstance(each, EarlyStopping))
