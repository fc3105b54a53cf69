"""Timeline of a Trainer's run: its phases in optimizer steps, as the Trainer counts them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from lightning.pytorch import Trainer

from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.finetuning.timeline import Timeline, make_timeline


def trainer_schedule(
    strategy: FinetuningStrategy, group_names: Sequence[str], trainer: Trainer
) -> Schedule:
    """Return the resolved schedule of a Trainer's run.

    With ``fast_dev_run`` it is the first phase alone, whatever its length.

    Args:
        strategy: Makes the schedule.
        group_names: Layer groups of the model, from the input on.
        trainer: The Trainer.

    Raises:
        ValueError: If the schedule does not fit the model, or the Trainer has no `max_epochs`.
    """
    if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return strategy.resolved_schedule(group_names, trainer.max_epochs)
    first = strategy.schedule(group_names, max_epochs=1000).phases[0]
    dry = dataclasses.replace(first, epochs=None, steps=None, until=None)
    return Schedule((dry,)).resolve(group_names, max_epochs=1)


def trainer_timeline(
    schedule: Schedule, trainer: Trainer, *, ended: Mapping[str, int] | None = None
) -> Timeline:
    """Lay a resolved schedule out in the optimizer steps of a Trainer whose loaders are there.

    Args:
        schedule: From `trainer_schedule`.
        trainer: The Trainer.
        ended: See `make_timeline`.

    Raises:
        ValueError: If a phase does not fit into the training.
    """
    assert trainer.max_epochs is not None  # noqa: S101  # checked by `trainer_schedule`
    is_endless = math.isinf(trainer.num_training_batches)  # Then the unit is the epoch.
    max_steps = trainer.max_steps if trainer.max_steps > 0 and not is_endless else None
    in_steps = [phase.name for phase in schedule.phases if phase.steps]
    if is_endless and in_steps:
        raise ValueError(
            f"Phase {in_steps[0]!r} is counted in steps, but the training data have no length. "
            "Give them one, set `limit_train_batches`, or count the phase in epochs."
        )
    return make_timeline(
        schedule,
        steps_per_epoch=trainer_steps_per_epoch(trainer),
        max_epochs=trainer.max_epochs,
        max_steps=max_steps,
        ended=ended,
    )


def trainer_steps_per_epoch(trainer: Trainer) -> int:
    """Return the optimizer steps of an epoch; 1 where the training data have no length."""
    batches = trainer.num_training_batches
    return 1 if math.isinf(batches) else math.ceil(batches / trainer.accumulate_grad_batches)


def trainer_step(timeline: Timeline, trainer: Trainer, batch_idx: int) -> int:
    """Return the place on the timeline of a batch of the running epoch."""
    in_epoch = min(batch_idx // trainer.accumulate_grad_batches, timeline.steps_per_epoch - 1)
    return trainer.current_epoch * timeline.steps_per_epoch + in_epoch
