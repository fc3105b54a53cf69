"""The picture of `tltool doctor --plot FILE`: activations through the depth of the head."""

from collections.abc import Sequence
from pathlib import Path

from tltool.diagnosis.starting_signal import StartingSignal
from tltool.whole_file import save_figure

NUM_BINS = 60
SHOWN = (0.001, 0.999)  # quantiles between which the outputs are drawn


def plot_signals(signals: Sequence[StartingSignal], path: Path) -> None:
    """Draw a histogram of each hidden layer's outputs, a row for each initializer.

    Raises:
        ValueError: If the head has no hidden layers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    depth = len(signals[0].values)
    if not depth:
        raise ValueError(
            "The head has no hidden layers whose outputs could be drawn. Leave --plot out, or set "
            "--model.head.hidden_features [256]."
        )
    figure = Figure(figsize=(2 + 2.6 * depth, 1.5 * len(signals) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(signals), depth, squeeze=False)
    for row, signal in zip(grid, signals, strict=True):
        row[0].set_ylabel(signal.initializer, fontsize=8)
        for axes, (name, values) in zip(row, signal.values.items(), strict=True):
            low, high = (float(values.quantile(q)) for q in SHOWN)
            span = (low, high) if high > low else (low - 0.5, low + 0.5)
            axes.hist(values.numpy(), bins=NUM_BINS, range=span, color="#0072B2")
            axes.set_yticks([])
            axes.tick_params(labelsize=7)
            title = name if signal is signals[0] else ""
            axes.set_title(f"{title}\nstd {float(values.std()):.2g}".strip(), fontsize=7)
    figure.supxlabel("output before training", fontsize=8)
    save_figure(figure, path)
