"""Lightning callback for signals: ranks agree to stop, save together, and leave; saves by time."""

import contextlib
import logging
import signal
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging

from tltool.finetuning.durations import parse_duration
from tltool.training.callbacks.checkpoints import LastCheckpoint
from tltool.training.distributed.collectives import largest_over_ranks, wait_for_ranks
from tltool.training.distributed.signals import (
    SIGNALS,
    SignalStopped,
    replace_lightning_handlers_,
)

log = logging.getLogger(__name__)

GRACE_PERIOD = "30s"
"""Time from SIGTERM to SIGKILL, if nobody says otherwise: that of Slurm and of Kubernetes."""

_SAVE = 1  # What the ranks agree on: this, or the number of a signal, all of which are larger.
_LONGEST_WAIT = timedelta(seconds=10)


class SignalStop(Checkpoint):
    """Stop a run at a signal, with all that it did saved, on all ranks together.

    SIGTERM, SIGUSR1, SIGUSR2 and Ctrl-C are noted by `StopSignals`. At the end of each batch the
    ranks agree whether one of them has received any, save ``last.ckpt``, and end with
    `SignalStopped`. In a validation it is the same: a resumed run validates anew. Lightning's own
    handlers are replaced. Ctrl-C again stops at once.

    It saves by the clock too, so that the failure of a node costs minutes and not an epoch. It is a
    checkpoint callback, for Lightning calls these last, when all others have done their part of the
    batch, and stands behind `LastCheckpoint`.

    Args:
        last: What saves.
        save_every: Save after so much time too, such as ``10m``, by the clock of the first rank.
        grace_period: Time between a signal and the kill; a save that takes longer is warned of.

    Raises:
        ValueError: If a duration is none.
        SignalStopped: During ``fit``, on all ranks.

    Example:
        >>> from pathlib import Path
        >>> SignalStop(LastCheckpoint(Path("mine/checkpoints")), save_every="10m").save_every
        600.0
    """

    def __init__(
        self,
        last: LastCheckpoint,
        save_every: str | None = None,
        grace_period: str = GRACE_PERIOD,
    ) -> None:
        self.last = last
        self.save_every = None if save_every is None else parse_duration(save_every)
        self.grace_period = parse_duration(grace_period)
        self._handlers = contextlib.ExitStack()
        self._stopped_by: int | None = None
        self._has_warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the place of Lightning's handlers; a signal may have come before all ranks did."""
        if stage != "fit":
            return
        self._stopped_by = None
        self._handlers.enter_context(SIGNALS.installed())
        SIGNALS.has_other_ranks = trainer.world_size > 1
        replace_lightning_handlers_(trainer)
        stop_unsaved(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the handlers back, if they were installed here."""
        self._handlers.close()

    def on_exception(self, *args: Any) -> None:
        """Give them back; Lightning calls no teardown then."""
        self._handlers.close()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop in front of the first batch, where the start is saved."""
        stop_unsaved(trainer)
        self._check_grace_period(trainer)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """Only note signals from here on."""
        SIGNALS.defer()
        self._leave()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save, if a rank has received a signal, or if it is time."""
        wish = SIGNALS.received or (_SAVE if self._is_due(trainer) else 0)
        agreed = largest_over_ranks(wish, trainer.strategy.root_device)
        if agreed > _SAVE:
            self._save_and_stop(trainer, agreed)
        elif agreed:
            self.last.save(trainer)
            self._check_grace_period(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave, behind a batch whose metrics are logged by now."""
        self._leave()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any
    ) -> None:
        """Stop inside a validation; in the one before training there is nothing to save."""
        if trainer.state.fn != "fit":
            return
        if trainer.sanity_checking:
            stop_unsaved(trainer)
            return
        agreed = largest_over_ranks(SIGNALS.received or 0, trainer.strategy.root_device)
        if agreed:
            for each in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(each, WeightAveraging):  # It validates the average in their place.
                    each.on_validation_epoch_end(trainer, pl_module)
            self._save_and_stop(trainer, agreed)
            self._leave()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave, behind the last batch of an epoch without a validation."""
        self._leave()
        self._check_grace_period(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        """Tell whether it is time to save: on the first rank, between two optimizer steps."""
        if self.save_every is None or not trainer.is_global_zero or trainer.is_last_batch:
            return False
        if trainer.fit_loop._should_accumulate() or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        return time.monotonic() - self.last.saved_at >= self.save_every

    def _save_and_stop(self, trainer: Trainer, number: int) -> None:
        SIGNALS.pass_by()
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
            self.last.save(trainer)
        self._stopped_by = number
        waited = f", {time.monotonic() - SIGNALS.received_at:.1f} s after it came"
        log.info(
            "Stopped by %s at step %d: saved in %.1f s%s.",
            _name(number),
            trainer.global_step,
            self.last.save_seconds,
            waited if SIGNALS.received else "",
        )

    def _leave(self) -> None:
        """End the run, if it is saved for that. The step is over by now, and its metrics logged."""
        if self._stopped_by is not None:
            raise SignalStopped(self._stopped_by, has_agreed=True)

    def _check_grace_period(self, trainer: Trainer) -> None:
        seconds = self.last.save_seconds
        if seconds <= self.grace_period or self._has_warned or not trainer.is_global_zero:
            return
        self._has_warned = True
        log.warning(
            "Saving last.ckpt took %.0f s, and a run is killed %.0f s after a signal: what it did "
            "since the last save would be lost. Let the cluster signal earlier "
            "(--signal=USR2@%.0f) and say so (--grace_period %.0fs), or save to a faster disk.",
            seconds,
            self.grace_period,
            3 * seconds,
            3 * seconds,
        )


def stop_unsaved(trainer: Trainer) -> None:
    """End a run on all ranks, if one has received a signal, where nothing is to be saved.

    Raises:
        SignalStopped: On all ranks.
    """
    agreed = largest_over_ranks(SIGNALS.received or 0, trainer.strategy.root_device)
    if agreed:
        SIGNALS.pass_by()
        log.info("Stopped by %s in front of step %d.", _name(agreed), trainer.global_step + 1)
        raise SignalStopped(agreed, has_agreed=True)


def _name(number: int) -> str:
    return signal.Signals(number).name


def leave_together(trainer: Trainer) -> None:
    """Wait for the other ranks at the end of a stopped run, for ten seconds at most.

    Launchers kill all ranks as soon as one has ended with an exit code, also that which sends what
    is left to Weights & Biases.
    """
    wait_for_ranks(_LONGEST_WAIT)
    children = getattr(trainer.strategy.launcher, "procs", None)
    if children:
        children.clear()  # Lightning would kill this process for the exit codes of these.
