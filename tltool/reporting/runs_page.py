"""The HTML page of several runs: what differs, and whether it made a difference."""

from tltool.evaluation.baselines import MAJORITY
from tltool.evaluation.verdict import words_of_p
from tltool.reporting.compared_runs import ComparedRuns, ImageSet, NamedRun
from tltool.reporting.config_differences import config_differences
from tltool.reporting.html.render import render
from tltool.reporting.run_page import curve_pictures
from tltool.reporting.run_verdict import is_cut_short
from tltool.reporting.tables import FactTable

SAME = "Nothing: they are the same run, repeated."


def render_runs_page(found: ComparedRuns, *, made_with: str) -> str:
    """Return the page as HTML.

    Args:
        found: The runs.
        made_with: Versions and time.
    """
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name in ("loss", "accuracy"):
        for run in found.runs:
            if points := run.measured.record.metrics.get(f"val/{name}"):
                curves.setdefault(f"validation {name}", {})[run.letter] = points
    return render(
        "runs.html.jinja",
        title=f"{len(found.runs)} runs",
        made_with=made_with,
        found=found,
        runs=runs_table(found),
        differences=difference_tables(found),
        options=options_table(found),
        same=SAME,
        curve_pictures=curve_pictures(curves),
    )


def runs_table(found: ComparedRuns) -> FactTable:
    """Return one row for each run."""
    columns = ("run", "accuracy", "95 % interval", MAJORITY, "images", "training", "directory")
    return FactTable(columns, [_run_row(run) for run in found.runs], (1, 2, 3))


def difference_tables(found: ComparedRuns) -> list[tuple[str, FactTable, str]]:
    """Return title, table and note about the differences on each set of images that has some."""
    columns = ("", "difference", "95 % interval", "p", "verdict")
    return [
        (
            "Differences" + (f" on {images.name}" if len(found.sets) > 1 else ""),
            FactTable(columns, _difference_rows(images), (1, 2, 3)),
            _difference_note(images),
        )
        for images in found.sets
        if images.differences
    ]


def options_table(found: ComparedRuns) -> FactTable:
    """Return one row for each option that is not the same in all runs."""
    differing = config_differences([run.measured.record.config for run in found.runs])
    columns = ("option", *(run.letter for run in found.runs))
    return FactTable(columns, [(key, *values) for key, values in differing.items()])


def _run_row(run: NamedRun) -> tuple[object, ...]:
    measured, record = run.measured.evaluation, run.measured.record
    accuracy: tuple[object, ...] = ("", "", "")
    if measured is not None:
        found, (low, high) = measured.accuracy.accuracy, measured.accuracy.interval
        majority = measured.accuracies[MAJORITY].accuracy
        accuracy = (found, f"{low:.3f} to {high:.3f}", majority)
    is_cut = is_cut_short(record) and not run.measured.has_ended
    cut = f" of {record.max_epochs}, cut short." if is_cut else "."
    said = " ".join([f"{record.epochs_done} epochs{cut}", *run.measured.missing])
    return (run.letter, *accuracy, run.images, said, record.folder)


def _difference_rows(images: ImageSet) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for difference in images.differences:
        low, high = difference.estimate.interval
        rows.append(
            (
                f"{difference.name} less {difference.reference}",
                f"{difference.estimate.mean:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                words_of_p(difference.p_value).removeprefix("= "),
                "\N{CHECK MARK} beyond noise"
                if difference.is_finding
                else "\N{ALMOST EQUAL TO} noise",
            )
        )
    return rows


def _difference_note(images: ImageSet) -> str:
    number = len(images.differences)
    seeds = max(len(letters) for letters in images.variants.values())
    over = f"images and {seeds} seeds" if seeds > 1 else "images; luck of the seed is not in it"
    corrected = f" p after Holm's correction for {number}." if number > 1 else ""
    return f"Accuracy, paired over {over}.{corrected}"
