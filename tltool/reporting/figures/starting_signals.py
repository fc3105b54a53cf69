"""Histograms of a head's outputs before training, for each initializer."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from tltool.diagnostics.checks.starting_signal import StartingSignal
from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import BLUE

NUM_BINS = 60
SHOWN = (0.001, 0.999)  # quantiles between which the outputs are drawn


def draw_starting_signals(signals: Sequence[StartingSignal]) -> Figure:
    """Draw a histogram of each hidden layer's outputs, a row for each initializer.

    Raises:
        ValueError: If the head has no hidden layers.
    """
    depth = len(signals[0].values)
    if not depth:
        raise ValueError(
            "The head has no hidden layers whose outputs could be drawn. Leave --plot out, or set "
            "--model.head.hidden_features [256]."
        )
    rows = len(signals)
    width, height = 2 + 2.6 * depth, 1.5 * rows + 0.6
    figure, all_axes = new_figure(depth, width=width, height=height, num_rows=rows, grid=False)
    places = iter(all_axes)
    for signal in signals:
        for index, (name, values) in enumerate(signal.values.items()):
            axes = next(places)
            low, high = (float(values.quantile(q)) for q in SHOWN)
            span = (low, high) if high > low else (low - 0.5, low + 0.5)
            axes.hist(values.numpy(), bins=NUM_BINS, range=span, color=BLUE)
            axes.set_yticks([])
            axes.tick_params(labelsize=7)
            title = name if signal is signals[0] else ""
            axes.set_title(f"{title}\nstd {float(values.std()):.2g}".strip(), fontsize=7)
            axes.set_ylabel("" if index else signal.initializer, fontsize=8)
    figure.supxlabel("output before training", fontsize=8)
    return figure
