"""The images that a network gets most wrong, on a page."""

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.reporting import run_tables
from tltool.reporting.html.images import thumbnail
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.report import Section

NUM_IMAGES = 12


def worst_section(found: MeasuredSplit, run: MeasuredRun | None) -> Section:
    """Return the worst mistakes, with their images.

    Args:
        found: The split that was measured.
        run: Decodes the images; ``None`` leaves them out.
    """
    worst = found.predictions.worst_errors()[:NUM_IMAGES]
    table, title = run_tables.prediction_table(found, worst), "Worst mistakes"
    is_class = isinstance(found.predictions, PredictionSet)
    note = "Those with the largest error, the worst first."
    if found.score.name != "MAE":
        what = "own class got" if is_class else "own classes, and no others, got"
        note = f"Those whose {what} the least probability, the worst first."
    if run is None:
        note += " The images were left out (--no_images)."
        return Section(title, table=table, note=note, is_private=True)
    pictures = [
        thumbnail(
            run.decode(found.paths[index], mode=run.mode),
            f"\N{MULTIPLICATION X} {predicted}, is {label}: {name}",
        )
        for index, (name, predicted, label) in zip(worst, table.cells, strict=True)
    ]
    return Section(title, pictures=pictures, note=note, is_private=True)
