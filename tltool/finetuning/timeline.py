"""A schedule in optimizer steps: which phase a step belongs to, and how far the phase has come."""

from collections.abc import Mapping
from dataclasses import dataclass

from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule


@dataclass(frozen=True)
class Span:
    """A phase with the steps ``start <= step < end`` that it holds.

    Args:
        phase: The phase.
        start: Its first optimizer step.
        end: The step after its last.
        planned_end: Where it would end if no metric ended it earlier.
    """

    phase: Phase
    start: int
    end: int
    planned_end: int

    def progress(self, step: int) -> float:
        """Return the share of the phase that is done in the middle of a step.

        The middle, so that neither the first step of a warmup nor the last one of a decay has a
        learning rate of zero.
        """
        return min((step + 0.5 - self.start) / (self.planned_end - self.start), 1.0)


@dataclass(frozen=True)
class Timeline:
    """Spans without gaps, from the first step of training on.

    Args:
        spans: The phases with their steps.
        steps_per_epoch: Optimizer steps in one epoch.

    Example:
        >>> schedule = Schedule((Phase("warm", ("head",), steps=3), Phase("all", ("*",))))
        >>> timeline = make_timeline(schedule, steps_per_epoch=10, max_epochs=2)
        >>> [(span.phase.name, span.start, span.end) for span in timeline.spans]
        [('warm', 0, 3), ('all', 3, 20)]
    """

    spans: tuple[Span, ...]
    steps_per_epoch: int

    def at(self, step: int) -> Span:
        """Return the span of a step, counted from 0; the last one after the end."""
        return next((span for span in self.spans if step < span.end), self.spans[-1])

    def phases_of_epoch(self, epoch: int) -> list[Phase]:
        """Return the phases that train in an epoch, counted from 0; none after the end."""
        start = epoch * self.steps_per_epoch
        end = start + self.steps_per_epoch
        return [span.phase for span in self.spans if span.start < end and span.end > start]


def make_timeline(
    schedule: Schedule,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    max_steps: int | None = None,
    ended: Mapping[str, int] | None = None,
) -> Timeline:
    """Lay the phases of a schedule out in optimizer steps.

    A phase in epochs, or with a metric, that begins inside an epoch counts this one as its first:
    such phases end at epoch boundaries.

    Args:
        schedule: A resolved schedule.
        steps_per_epoch: Optimizer steps in one epoch.
        max_epochs: Length of training.
        max_steps: Training ends after so many steps, if that is earlier.
        ended: The epoch in front of which a metric ended a phase, by the phase's name.

    Raises:
        ValueError: If a phase in steps does not fit into the training.
    """
    total = max_epochs * steps_per_epoch
    spans: list[Span] = []
    start = 0
    for phase in schedule.phases:
        planned = _end(phase, start, steps_per_epoch, total)
        if start >= total or planned > total:
            raise ValueError(
                f"Phase {phase.name!r} would last from step {start} to {planned}, but training has "
                f"{total} steps ({max_epochs} epochs of {steps_per_epoch}). Raise `max_epochs`, or "
                "shorten a phase."
            )
        end = planned
        if phase.until and ended and phase.name in ended:
            end = min(ended[phase.name] * steps_per_epoch, planned)
        spans.append(Span(phase, start, end, planned))
        start = end
    last = spans[-1]
    if last.planned_end < total and not any(span.phase.until for span in spans):
        raise ValueError(
            f"The phases end after step {last.end}, but training has {total} steps ({max_epochs} "
            f"epochs of {steps_per_epoch}). Leave out the length of the last phase "
            f"{last.phase.name!r} for the rest of training."
        )
    if max_steps:
        spans = [_cut(span, max_steps) for span in spans]
    return Timeline(tuple(spans), steps_per_epoch)


def _end(phase: Phase, start: int, steps_per_epoch: int, total: int) -> int:
    if phase.steps is not None:
        return start + phase.steps
    epochs = phase.until.max_epochs if phase.until else phase.epochs
    return total if epochs is None else (start // steps_per_epoch + epochs) * steps_per_epoch


def _cut(span: Span, max_steps: int) -> Span:
    """Return a span of which `max_steps` cuts the end off; its decay then ends there."""
    if span.start >= max_steps:
        raise ValueError(
            f"Phase {span.phase.name!r} would begin at step {span.start}, but training ends after "
            f"{max_steps} steps. Raise `max_steps`, or shorten a phase."
        )
    planned = min(span.planned_end, max_steps)
    return Span(span.phase, span.start, min(span.end, planned), planned)
