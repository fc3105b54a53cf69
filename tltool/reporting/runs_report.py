"""Report on several runs: what differs, and whether it made a difference."""

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.verdict import CONSTANT, words_of_p
from tltool.reporting.compared_runs import ComparedRuns, ImageSet, NamedRun
from tltool.reporting.config_differences import config_differences
from tltool.reporting.disagreement_section import disagreement_sections
from tltool.reporting.report import Report, Section
from tltool.reporting.run_record import CURVES
from tltool.reporting.run_report import NO_ALARM, curve_section
from tltool.reporting.run_tables import alarm_table
from tltool.reporting.run_verdict import is_cut_short
from tltool.reporting.tables import FactTable

_SAME_IMAGES = (
    "Runs with the same set of images were measured on the same ones: same paths, same classes. "
    "Two intervals that overlap may still differ, for differences are paired. tltool report RUN "
    "measures one run beside a closed-form probe too."
)


def runs_report(found: ComparedRuns, *, images: bool = True) -> Report:
    """Return what a reviewer asks about several runs, in this order.

    Is there a difference, and how sure is that; what next; the runs; what differs in their
    configurations; on which images they disagree; then how they learned, and how healthy they were.

    Args:
        found: The runs, compared.
        images: Whether to show images; else their names only, for they may be private.
    """
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, label in CURVES.items():
        for run in found.runs:
            if points := run.measured.record.metrics.get(f"val/{name}"):
                curves.setdefault(f"validation {label}", {})[run.letter] = points
    alarms = [
        {**alarm, "layer": f"run {run.letter}, {alarm['layer']}"}
        for run in found.runs
        for alarm in run.measured.record.alarms
    ]
    return Report(
        found.title,
        found.verdict,
        [
            Section("The runs", table=runs_table(found), note=_SAME_IMAGES),
            *(_difference_section(found, each) for each in found.sets if each.differences),
            _options_section(found),
            *disagreement_sections(found, images=images),
            curve_section(
                "Learning curves", curves, "Validation images may differ between the runs too."
            ),
            Section(
                "Layer health",
                [] if alarms else [NO_ALARM],
                alarm_table(alarms) if alarms else None,
                dashboard="health",
            ),
        ],
    )


def runs_table(found: ComparedRuns) -> FactTable:
    """Return one row for each run."""
    measured = [each for run in found.runs if (each := run.measured.evaluation) is not None]
    score = " or ".join(dict.fromkeys(each.score.name for each in measured)) or "score"
    constant = " or ".join(dict.fromkeys(_constant(each)[0] for each in measured)) or "constant"
    columns = ("run", score, "95 % interval", constant, "images", "training", "directory")
    return FactTable(columns, [_run_row(run) for run in found.runs], (1, 2, 3))


def _run_row(run: NamedRun) -> tuple[object, ...]:
    measured, record = run.measured.evaluation, run.measured.record
    score: tuple[object, ...] = ("", "", "")
    if measured is not None:
        words, (value, _, (low, high)) = measured.score.words, measured.result
        interval = f"{words(low)} to {words(high)}"
        score = (words(value), interval, words(_constant(measured)[1]))
    is_cut = is_cut_short(record) and not run.measured.has_ended
    cut = f" of {record.max_epochs}, cut short." if is_cut else "."
    said = " ".join([f"{record.epochs_done} epochs{cut}", *run.measured.missing])
    return (run.letter, *score, run.images, said, record.run_dir)


def _constant(measured: MeasuredSplit) -> tuple[str, float]:
    """Return the first of the baselines that need no network, and its score."""
    return next((name, each.value) for name, each in measured.results.items() if name in CONSTANT)


def _options_section(found: ComparedRuns) -> Section:
    title = "What differs in the configuration"
    differing = config_differences([run.measured.record.config for run in found.runs])
    if not differing:
        return Section(title, ["Nothing: they are the same run, repeated."])
    columns = ("option", *(run.letter for run in found.runs))
    return Section(title, table=FactTable(columns, [(k, *v) for k, v in differing.items()]))


def _difference_section(found: ComparedRuns, images: ImageSet) -> Section:
    rows = []
    for difference in images.differences:
        words, estimate = difference.score.words, difference.estimate
        low, high = (words(bound, "+") for bound in estimate.interval)
        rows.append(
            (
                f"{difference.name} minus {difference.reference}",
                words(estimate.mean, "+"),
                f"{low} to {high}",
                words_of_p(difference.p_value).removeprefix("= "),
                "\N{CHECK MARK} beyond noise"
                if difference.is_finding
                else "\N{ALMOST EQUAL TO} noise",
            )
        )
    seeds = max(len(letters) for letters in images.variants.values())
    over = f"images and {seeds} seeds" if seeds > 1 else "images; the noise of seeds is not in it"
    corrected = f" p after Holm's correction for {len(rows)}." if len(rows) > 1 else ""
    return Section(
        "Differences" + (f" on {images.name}" if len(found.sets) > 1 else ""),
        table=FactTable(("", "difference", "95 % interval", "p", "verdict"), rows, (1, 2, 3)),
        note=f"{images.score.title}, paired over {over}.{corrected}",
    )
