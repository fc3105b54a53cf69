"""Position in an epoch: what a checkpoint says of it, and how a resumed Trainer takes it up.

Lightning's counters differ by the hook that wrote a checkpoint, and it takes some of them for
another place: from a last batch it skips the validation and the end of the epoch, and an epoch that
`max_steps` ended passes for a whole one. So each checkpoint is brought to one form when it is read:
how many batches are trained, and whether their validation is done.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer

_STEPS = ("ready", "started", "processed", "completed")


@dataclass(frozen=True)
class EpochPosition:
    """How far a run has come.

    Args:
        epoch: Number of epochs that are over.
        batches: Number of batches that are trained of the epoch after them.
        is_over: Whether these are all, and only the end of this epoch is left.
    """

    epoch: int
    batches: int = 0
    is_over: bool = False


def read_position(loops: Mapping[str, Any]) -> EpochPosition:
    """Return the position that a checkpoint was written at.

    A batch counts when its step is done, whatever comes of the hooks behind it.

    Args:
        loops: State of Lightning's fit loop.
    """
    epochs, batch = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
    over, current = epochs["processed"], batch["current"]
    is_last = batch["is_last_batch"] and current["processed"] == current["ready"]
    if epochs["started"] < epochs["ready"] or not current["processed"]:
        return EpochPosition(over)  # In front of its first batch; the counter may be of the last.
    if over < epochs["started"]:
        return EpochPosition(over, current["processed"], is_last)
    # At the end of an epoch, or training ended inside it.
    return EpochPosition(over) if is_last else EpochPosition(over - 1, current["processed"])


def normalize_(loops: dict[str, Any]) -> None:
    """Bring the counters of a checkpoint to one form, whichever hook has written it.

    Args:
        loops: State of Lightning's fit loop, changed in place.
    """
    position = read_position(loops)
    batch = loops["epoch_loop.batch_progress"]
    begun = int(position.batches > 0)
    epochs = loops["epoch_progress"]
    done = position.epoch - epochs["current"]["processed"]  # -1 where training ended inside
    for tracker in (epochs["current"], epochs["total"]):
        over = tracker["processed"] + done
        tracker |= {"ready": over + begun, "started": over + begun}
        tracker |= {"processed": over, "completed": over}
    batch["current"] = dict.fromkeys(_STEPS, position.batches)
    batch["total"] = dict.fromkeys(_STEPS, batch["total"]["processed"])
    batch["is_last_batch"] = position.is_over


def last_validated(loops: Mapping[str, Any]) -> int:
    """Return how many batches were trained at the last validation, by the counters alone.

    Args:
        loops: State of Lightning's fit loop, as it was written.
    """
    batch = loops["epoch_loop.batch_progress"]
    # A step counts as completed in front of its validation, and as processed before its hooks.
    is_behind = batch["current"]["completed"] == batch["current"]["processed"]
    return int(batch["total"]["processed"]) if is_behind else -1


def batch_progress(trainer: Trainer) -> Any:
    """Return Lightning's counters of batches, ``current`` ones of the epoch and ``total`` ones."""
    return trainer.fit_loop.epoch_loop.batch_progress  # Its own type lacks some of them.


def is_epoch_over(trainer: Trainer) -> bool:
    """Tell whether all batches of the running epoch are trained."""
    progress = batch_progress(trainer)
    return bool(progress.is_last_batch and progress.current.processed == progress.current.ready)


def is_in_step(trainer: Trainer) -> bool:
    """Tell whether a batch is being trained at this moment."""
    current = batch_progress(trainer).current
    return bool(current.started > current.processed)


def is_step_whole(trainer: Trainer) -> bool:
    """Tell whether no optimizer step is begun."""
    done = batch_progress(trainer).current.processed
    return is_epoch_over(trainer) or done % trainer.accumulate_grad_batches == 0


def is_validation_due(trainer: Trainer) -> bool:
    """Tell whether the options of a Trainer place a validation behind the batch that is trained.

    A Trainer that is told to stop validates besides, where training ends.
    """
    every = trainer.check_val_every_n_epoch
    if not trainer.enable_validation or (every and (trainer.current_epoch + 1) % every):
        return False
    progress = batch_progress(trainer)
    interval = trainer.val_check_batch
    if interval is None:  # by the clock
        return False
    if math.isinf(interval):
        return bool(progress.is_last_batch)
    counted = progress.current if every else progress.total
    return bool(counted.ready % interval == 0)


def ends_early(trainer: Trainer) -> bool:
    """Tell whether training ends behind this batch, without what an epoch would bring next."""
    is_over = is_epoch_over(trainer)
    if trainer.should_stop and trainer.fit_loop._can_stop_early:
        return not is_over or (trainer.enable_validation and not is_validation_due(trainer))
    return not is_over and 0 < trainer.max_steps <= trainer.global_step


def has_ended(trainer: Trainer) -> bool:
    """Tell whether a Trainer, asked when training starts, has been told to train nothing."""
    return bool(trainer.should_stop and trainer.fit_loop._can_stop_early)


def take_up_(trainer: Trainer, validated: int) -> int:
    """Set the loops of a resumed Trainer to what comes next, and return the trained batches.

    It is called when training starts, on counters from `normalize_`.

    Args:
        trainer: The Trainer.
        validated: Number of batches of the run that were trained at its last validation.
    """
    loop, progress = trainer.fit_loop.epoch_loop, batch_progress(trainer)
    if not loop.restarting:
        return 0
    if not trainer.fit_loop.restarted_mid_epoch:
        # With `max_steps` Lightning takes an epoch that was done for a begun one
        # (https://github.com/Lightning-AI/pytorch-lightning/issues/19617).
        loop.restarting = False
        loop._batches_that_stepped = trainer.global_step
        return 0
    batches: int = progress.current.ready
    # A checkpoint is written in front of where Lightning counts this step.
    loop._batches_that_stepped = trainer.global_step - (not loop._should_accumulate())
    if is_validation_due(trainer) and validated != progress.total.ready:
        _begin_validation_(loop.val_loop)
    elif loop._num_ready_batches_reached():
        loop._batches_that_stepped = trainer.global_step
        loop.val_loop._has_run = True  # Nothing is left of the epoch but its end.
    else:
        _end_batch_(loop)
    return batches


def end_resumed_epoch_(trainer: Trainer) -> None:
    """Tell Lightning that no epoch is resumed any more, where no batch of it was left to do so."""
    loop = trainer.fit_loop.epoch_loop
    loop.restarting = False
    loop.reset_restart_stage()


def _begin_validation_(val_loop: Any) -> None:
    """Make Lightning validate before it trains: all images, for no metrics of a part are kept."""
    val_loop.batch_progress.reset()
    val_loop.batch_progress.increment_ready()
    val_loop.batch_progress.increment_started()
    val_loop.update_restart_stage()


def _end_batch_(epoch_loop: Any) -> None:
    """Make Lightning train the next batch, without a validation."""
    for tracker in (epoch_loop.batch_progress.current, epoch_loop.batch_progress.total):
        tracker.completed -= 1
    epoch_loop.update_restart_stage()
