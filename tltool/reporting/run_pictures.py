"""Pictures that a report leaves in a run directory: its curves, and some of its predictions."""

from pathlib import Path

from matplotlib.figure import Figure

from tltool._atomic_write import save_figure
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.reporting.figures.curves import draw_curves
from tltool.reporting.figures.image_grid import draw_image_grid
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_tables import prediction_table

NUM_IMAGES = 12


def write_pictures(run: MeasuredRun, *, images: bool) -> dict[str, Path]:
    """Draw what there is to draw; return the files by what they show.

    Args:
        run: The run.
        images: Whether to draw images too, which may be private.
    """
    figures = {}
    if curves := run.record.curves:
        figures["curves"] = draw_curves(
            curves,
            phases=run.phase_starts,
            levels=run.baseline_levels,
            best_epoch=run.record.best_epoch,
            title=str(run.record.run_dir),
        )
    if images and run.evaluation is not None:
        figures["predictions"] = draw_predictions(run, run.evaluation)
    files = {name: run.record.run_dir / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        save_figure(figure, files[name], dpi=110)
    return files


def draw_predictions(run: MeasuredRun, found: MeasuredSplit) -> Figure:
    """Draw errors first, of classes the most confident ones, then images spread over the split."""
    predictions = found.predictions
    if isinstance(predictions, PredictionSet):
        worst = predictions.confident_errors()[: NUM_IMAGES // 2]
    else:
        worst = predictions.worst_errors()[: NUM_IMAGES // 2]
    right = predictions.right.nonzero()[:, 0].tolist()
    step = max(1, len(right) // (NUM_IMAGES - len(worst)))
    chosen = worst + right[::step][: NUM_IMAGES - len(worst)]
    rows = prediction_table(found, chosen).cells
    return draw_image_grid(
        [run.decode(found.paths[index], mode=run.mode) for index in chosen],
        [f"{predicted}\n(is {label})" for _, predicted, label in rows],
        predictions.right[chosen].tolist(),
    )
