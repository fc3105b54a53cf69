"""The pictures of `tltool plan --plot FILE`."""

from pathlib import Path

from tltool.diagnosis.lr_range import RateRange
from tltool.finetuning.plan import Plan
from tltool.whole_file import save_figure

NUM_COLUMNS = 400
SMALLEST_SHOWN = 1e-3
"""Rates below this share of the highest one have the darkest color."""


def plot_plan(plan: Plan, path: Path) -> None:
    """Draw the learning rate of each parameter group over the steps, with the phases marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    total = plan.phases[-1].span.planned_end
    labels = list(dict.fromkeys(label for planned in plan.phases for label in planned.rates))
    edges = sorted({round(i * total / NUM_COLUMNS) for i in range(NUM_COLUMNS + 1)})
    rates = [[plan.rate(label, step) or float("nan") for step in edges[:-1]] for label in labels]
    figure = Figure(figsize=(8, 1.6 + 0.22 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    highest = max(max(planned.rates.values()) for planned in plan.phases)
    # Dark to bright also in gray and for color-blind eyes; frozen groups stay white.
    image = axes.pcolormesh(
        edges,
        range(len(labels) + 1),
        rates,
        cmap="cividis",
        norm=LogNorm(highest * SMALLEST_SHOWN, highest),
    )
    for planned in plan.phases:
        axes.axvline(planned.span.start, color="black", linewidth=0.8)
        axes.annotate(
            planned.phase.name + (" (at most)" if planned.phase.until else ""),
            (planned.span.start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 3),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set(xlabel="optimizer step", xlim=(0, total), title=" ")
    axes.set_yticks([index + 0.5 for index in range(len(labels))], labels, fontsize=7)
    figure.colorbar(image, label="learning rate (white: frozen)")
    save_figure(figure, path)


def plot_rates(found: RateRange, path: Path) -> None:
    """Draw the loss over the learning rates of a range test."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#0072B2", linewidth=2)
    for rate, what in ((found.steepest, "steepest"), (found.best, "least")):
        axes.axvline(rate, color="0.5", linestyle="dashed", linewidth=1)
        axes.annotate(
            f" {what}\n {rate:.2g}", (rate, 0.9), xycoords=("data", "axes fraction"), fontsize=8
        )
    axes.set(xlabel="--optimizer.lr", ylabel="smoothed training loss", xscale="log")
    save_figure(figure, path)
