"""The section about the schedule: what trained when, and at what learning rates."""

from tltool.finetuning.plan import Plan, PlannedPhase
from tltool.reporting.figures import NUM_COLUMNS, draw_schedule
from tltool.reporting.html import paragraph, picture, pictures, section, table

PHASE_COLUMNS = ("phase", "epochs", "trains", "highest learning rate", "then")


def schedule_section(plan: Plan | str, epochs_done: float) -> str:
    """Return the section.

    Args:
        plan: The phases in numbers, or the sentence that says why they are not known.
        epochs_done: The epochs that were trained.
    """
    if isinstance(plan, str):
        return section("What trained when", paragraph(plan))
    drawing = picture(
        draw_schedule(plan, group_rates(plan), epochs_done),
        "The learning rate of each layer group over the epochs, dark where it is low.",
    )
    return section("What trained when", pictures(drawing), table(PHASE_COLUMNS, phase_rows(plan)))


def phase_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return one row for each phase, see ``PHASE_COLUMNS``."""
    return [_row(number, planned, plan) for number, planned in enumerate(plan.phases, start=1)]


def phase_starts(plan: Plan | str) -> list[float]:
    """Return the epoch in front of which each phase begins."""
    if isinstance(plan, str):
        return []
    return [planned.span.start / plan.steps_per_epoch for planned in plan.phases]


def group_rates(plan: Plan) -> dict[str, list[float]]:
    """Return the learning rate of each layer group over the training; 0 where it is frozen.

    Of parameter groups or layers in one layer group it is the highest.
    """
    total = plan.phases[-1].span.end
    steps = [int(column * total / NUM_COLUMNS) for column in range(NUM_COLUMNS)]
    return {
        group: [
            max(
                (plan.lr(label, step) for each in plan.phases for label in each.lrs_of(group)),
                default=0.0,
            )
            for step in steps
        ]
        for group in plan.groups
    }


def _row(number: int, planned: PlannedPhase, plan: Plan) -> tuple[str, ...]:
    span, phase = planned.span, planned.phase
    rates = sorted(planned.lrs.values())
    extremes = dict.fromkeys(f"{rate:.2g}" for rate in (rates[0], rates[-1]))
    start, end = (step / plan.steps_per_epoch for step in (span.start, span.end))
    cut = f", ended by {phase.until.metric}" if phase.until and span.end < span.planned_end else ""
    warmup = f"warmup over {phase.warmup:.0%}, " if phase.warmup else ""
    decay = "constant" if phase.decay == "none" else f"falls to 0 ({phase.decay})"
    return (
        f"{number} {phase.name}",
        f"{start:g} to {end:g}{cut}",
        f"{phase.describe_groups(len(plan.groups))} ({sum(planned.trained.values()):,} parameters)",
        " to ".join(extremes),
        warmup + decay,
    )
