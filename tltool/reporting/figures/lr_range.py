"""Loss over the learning rates of a range test."""

from matplotlib.figure import Figure

from tltool.diagnostics.advice.lr_range import LRRange
from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import BLUE


def draw_lr_range(found: LRRange) -> Figure:
    """Draw the loss over the learning rates, its least value and steepest fall marked, if any."""
    figure, (axes,) = new_figure(width=6, height=4, grid=False)
    axes.plot(found.lrs, found.losses, color=BLUE, linewidth=2)
    steepest = [(found.steepest, "steepest")] if found.falls else []
    for lr, what in (*steepest, (found.best, "least")):
        axes.axvline(lr, color="0.5", linestyle="dashed", linewidth=1)
        words = f" {what}\n {lr:.2g}"
        axes.text(lr, 0.9, words, transform=axes.get_xaxis_transform(), fontsize=8)
    axes.set(xlabel="--optimizer.lr", ylabel="smoothed training loss", xscale="log")
    return figure
