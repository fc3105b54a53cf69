"""Learning rate of each layer group over the epochs, with the phases marked."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from tltool.finetuning.plan import Plan
from tltool.reporting.figures.axes import mark_phase, new_figure
from tltool.reporting.figures.palette import COLORMAP, VERMILION

NUM_MOMENTS = 400
SMALLEST_SHOWN = 1e-3
"""Learning rates below this share of the highest one have the darkest color."""


def lr_by_group(plan: Plan) -> dict[str, list[float]]:
    """Return the learning rate of each layer group over the training; 0 where it is frozen.

    Of parameter groups or layers in one layer group it is the highest.
    """
    return {
        group: _over_time(plan, {label for each in plan.phases for label in each.lrs_of(group)})
        for group in plan.groups
    }


def lr_by_parameter_group(plan: Plan) -> dict[str, list[float]]:
    """Return the learning rate of each parameter group over the training; 0 where it is frozen."""
    labels = dict.fromkeys(label for planned in plan.phases for label in planned.lrs)
    return {label: _over_time(plan, [label]) for label in labels}


def draw_schedule(
    plan: Plan,
    lr: Mapping[str, Sequence[float]],
    *,
    epochs_done: float | None = None,
    width: float = 4.8,
    named: bool = False,
) -> Figure:
    """Draw the learning rates over the epochs.

    Args:
        plan: The phases.
        lr: Learning rates by group, from the input on, at moments spread over the training.
        epochs_done: The epochs that were trained; ``None`` for all.
        width: In inches.
        named: Mark phases by their names; else by their numbers, which need less room.
    """
    total = plan.phases[-1].span.end / plan.steps_per_epoch
    figure, (axes,) = new_figure(width=width, height=1.5 + 0.24 * len(lr), grid=False)
    values = np.array([[value or np.nan for value in row] for row in lr.values()])
    highest = float(np.nanmax(values))
    # Frozen groups stay white.
    norm, area = LogNorm(highest * SMALLEST_SHOWN, highest), (0, total, len(lr), 0)
    image = axes.imshow(values, COLORMAP, norm, aspect="auto", extent=area, interpolation="nearest")
    for number, planned in enumerate(plan.phases, start=1):
        name = planned.phase.name + (" (at most)" if planned.phase.until else "")
        mark_phase(axes, planned.span.start / plan.steps_per_epoch, name if named else str(number))
    axes.set(xlim=(0, total), xlabel="epochs")
    if epochs_done is not None and epochs_done < total:
        axes.axvline(epochs_done, color=VERMILION, linewidth=2, linestyle="dotted")
        axes.set_xlabel("epochs (dotted: stopped here)")
    places = [index + 0.5 for index in range(len(lr))]
    axes.set_yticks(places, list(lr), fontsize=8, parse_math=False)
    figure.colorbar(image, label="learning rate (white: frozen)")
    return figure


def _over_time(plan: Plan, labels: Iterable[str]) -> list[float]:
    total = plan.phases[-1].span.end
    steps = [int(moment * total / NUM_MOMENTS) for moment in range(NUM_MOMENTS)]
    return [max((plan.lr(label, step) for label in labels), default=0.0) for step in steps]
