"""The page of several runs: what differs, and whether it made a difference."""

from tltool.reporting.config_differences import config_differences
from tltool.reporting.evaluation import MAJORITY, RUN
from tltool.reporting.figures import draw_curves
from tltool.reporting.html import command, page, paragraph, picture, pictures, section, table, text
from tltool.reporting.runs import NamedRun, PhotoSet, Runs
from tltool.reporting.verdict import is_cut_short, words_of_p

RUN_COLUMNS = (
    "run",
    "accuracy",
    "95 % interval",
    "majority class",
    "photos",
    "training",
    "folder",
)
DIFFERENCE_COLUMNS = ("", "difference", "95 % interval", "p", "verdict")


def render_runs_page(found: Runs, *, made_with: str) -> str:
    """Return the page as HTML.

    Args:
        found: The runs.
        made_with: Versions and time.
    """
    answer = "".join(
        paragraph(sentence, "verdict" if number == 0 else "")
        for number, sentence in enumerate(found.sentences)
    )
    answer += f"<p><b>Next.</b> {text(found.next_step)}</p>"
    answer += "".join(command(line) for line in found.commands)
    body = [f'<div class="answer">{answer}</div>', _overview(found)]
    body += [_differences(photos, found) for photos in found.sets if photos.differences]
    body += [_config(found), _curves(found)]
    return page(f"{len(found.runs)} runs", body, made_with=made_with)


def _overview(found: Runs) -> str:
    note = (
        "Runs with the same set of photos were measured on the same ones: same paths, same "
        "classes. Two intervals that overlap may still differ, for differences are paired. tltool "
        "report FOLDER measures one run beside a closed-form probe too."
    )
    overview = table(RUN_COLUMNS, [run_row(run) for run in found.runs], numbers=(1, 2, 3))
    return section("The runs", overview, paragraph(note, "small"))


def run_row(run: NamedRun) -> tuple[object, ...]:
    """Return the row of a run, see ``RUN_COLUMNS``."""
    evaluation, record = run.measured.evaluation, run.measured.record
    accuracy = ("", "", "")
    if evaluation is not None:
        low, high = evaluation.interval()
        scores = evaluation.scores
        accuracy = (
            f"{scores[RUN].accuracy:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{scores[MAJORITY].accuracy:.3f}",
        )
    is_cut = is_cut_short(record) and not run.measured.has_ended
    cut = f" of {record.max_epochs}, cut short." if is_cut else "."
    said = " ".join([f"{record.epochs_done} epochs{cut}", *run.measured.missing])
    return (run.letter, *accuracy, run.photos, said, record.folder)


def difference_rows(photos: PhotoSet) -> list[tuple[str, ...]]:
    """Return one row for each difference, see ``DIFFERENCE_COLUMNS``."""
    rows: list[tuple[str, ...]] = []
    for difference in photos.differences:
        low, high = difference.estimate.interval
        verdict = "\N{CHECK MARK} beyond noise"
        rows.append(
            (
                f"{difference.name} less {difference.reference}",
                f"{difference.estimate.mean:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                words_of_p(difference.p_value).removeprefix("= "),
                verdict if difference.is_finding else "\N{ALMOST EQUAL TO} noise",
            )
        )
    return rows


def difference_note(photos: PhotoSet) -> str:
    """Return what the differences are over, in words."""
    number = len(photos.differences)
    seeds = max(len(letters) for letters in photos.variants.values())
    over = f"photos and {seeds} seeds" if seeds > 1 else "photos; luck of the seed is not in it"
    corrected = f" p after Holm's correction for {number}." if number > 1 else ""
    return f"Accuracy, paired over {over}.{corrected}"


def _differences(photos: PhotoSet, found: Runs) -> str:
    title = "Differences" + (f" on {photos.name}" if len(found.sets) > 1 else "")
    rows = table(DIFFERENCE_COLUMNS, difference_rows(photos), numbers=(1, 2, 3))
    return section(title, rows, paragraph(difference_note(photos), "small"))


def _config(found: Runs) -> str:
    title = "What differs in the configuration"
    differing = config_differences([run.measured.record.config for run in found.runs])
    if not differing:
        return section(title, paragraph("Nothing: they are the same run, repeated."))
    header = ("option", *(run.letter for run in found.runs))
    return section(title, table(header, [(key, *values) for key, values in differing.items()]))


def _curves(found: Runs) -> str:
    images = []
    for name, label in (("val/loss", "validation loss"), ("val/accuracy", "validation accuracy")):
        series = {run.letter: run.measured.record.metrics.get(name, []) for run in found.runs}
        series = {letter: points for letter, points in series.items() if points}
        if series:
            ends = ", ".join(f"{letter} {points[-1][1]:.4f}" for letter, points in series.items())
            images.append(picture(draw_curves(series, label), f"The {label}; at the end {ends}."))
    empty = paragraph("Nothing was measured: no epoch was finished.")
    note = paragraph("Validation photos may differ between the runs too.", "small")
    return section("How they learned", pictures(*images) + note if images else empty)
