"""Tables about one run: scores, phases, alarms, confusion matrix, mistakes, calibration."""

from collections.abc import Mapping, Sequence

from tltool.evaluation.baselines import FREQUENCIES, MAJORITY, MEAN, MEDIAN, PROBE, RUN
from tltool.evaluation.calibration import ReliabilityBin
from tltool.evaluation.confusion import label_counts, mistakes
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.rejection import RejectionCurve
from tltool.finetuning.plan import Plan, PlannedPhase
from tltool.reporting.tables import FactTable

MOST_MISTAKES = 12
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)


def score_table(found: MeasuredSplit, measured: str, *, has_chosen: bool = True) -> FactTable:
    """Return one row for each baseline and for the run.

    Args:
        found: The split that was measured.
        measured: Which weights were measured, in a sentence; empty for those of the best epoch.
        has_chosen: Whether they were chosen on the validation images.
    """
    name = found.score.name
    measured = measured or f"The checkpoint with the best validation {name}."
    if has_chosen and found.split == "val":
        measured += " These images chose it: slightly optimistic."
    frequencies = "Always saying how frequent each class is in training"
    meanings = {
        MAJORITY: _majority(found) if MAJORITY in found.baselines else "",
        FREQUENCIES: f"{frequencies}; a model below it learned nothing.",
        MEDIAN: "Always saying the median of training; a model above it learned nothing.",
        MEAN: "Always saying the mean of training.",
        PROBE: "Ridge regression on the frozen features: what the pretraining gives without "
        "training.",
        RUN: measured,
    }
    rows = []
    words = found.score.words
    for row, (value, error, (low, high)) in found.results.items():
        numbers = f"{words(value)} +- {words(error)}", f"{words(low)} to {words(high)}"
        rows.append((row, *numbers, meanings[row]))
    return FactTable(("", f"{name} +- error", "95 % interval", "what it means"), rows, (1, 2))


def phase_table(plan: Plan) -> FactTable:
    """Return one row for each phase."""
    rows = [_phase_row(number, planned, plan) for number, planned in enumerate(plan.phases, 1)]
    return FactTable(("phase", "epochs", "trains", "highest learning rate", "schedule"), rows)


def alarm_table(alarms: Sequence[Mapping[str, str]]) -> FactTable:
    """Return one row for each alarm.

    Args:
        alarms: Rows of ``alarms.csv``.
    """
    rows = [
        (
            f"\N{WARNING SIGN} {alarm['cause']}",
            alarm["layer"],
            f"epoch {int(alarm['epoch']) + 1}, step {int(alarm['step']) + 1}",
            alarm["message"],
        )
        for alarm in alarms
    ]
    return FactTable(("alarm", "where", "when", "what was seen, and a suggested fix"), rows)


def mistake_table(found: MeasuredSplit) -> FactTable:
    """Return one row for each of the most frequent mistakes."""
    names, counts = found.class_names, found.confusion
    pairs, (labeled, _, _) = mistakes(counts), label_counts(counts)
    rows = [
        (names[each.label], names[each.predicted], each.num_images, int(labeled[each.label]))
        for each in pairs[:MOST_MISTAKES]
    ]
    left = len(pairs) - len(rows)
    note = f"{left:,} more pairs of classes, each of at most as many images." if left else ""
    return FactTable(("true class", "predicted class", "images", "of"), rows, (2, 3), note)


def confusion_table(found: MeasuredSplit) -> FactTable:
    """Return the confusion matrix: one row for each true class, a column for each predicted one."""
    counts = found.confusion.tolist()
    rows = [(name, *row) for name, row in zip(found.class_names, counts, strict=True)]
    numbers = range(1, len(rows) + 1)
    return FactTable(("true class", *(f"as {name}" for name in found.class_names)), rows, numbers)


def prediction_table(found: MeasuredSplit, indices: Sequence[int]) -> FactTable:
    """Return one row for each of some predictions."""
    names, predictions = found.class_names, found.predictions
    rows = []
    for index in indices:
        if isinstance(predictions, PredictionSet):
            predicted, label = predictions.predicted[index], predictions.labels[index]
            words = (
                f"{names[predicted]} {predictions.confidence[index]:.2f}",
                f"{names[label]} {predictions.of_label[index]:.2f}",
            )
        else:
            words = predictions.words(index, names)
        rows.append((found.names[index], *words))
    return FactTable(("image", "predicted", "is"), rows)


def reliability_table(bins: Sequence[ReliabilityBin]) -> FactTable:
    """Return one row for each bin of the confidence."""
    return FactTable(("mean confidence", "accuracy", "images"), bins, (0, 1, 2))


def rejection_table(curve: RejectionCurve) -> FactTable:
    """Return one row for each of some coverages."""
    rows = [
        (f"{curve.coverage[at]:.0%}", f"{curve.risk[at]:.3f}", f"{curve.thresholds[at]:.3f}")
        for at in dict.fromkeys(map(curve.at_coverage, _COVERAGES))
    ]
    return FactTable(("not rejected", "of these wrong", "from a probability of"), rows, (0, 1, 2))


def _majority(found: MeasuredSplit) -> str:
    """Say which class a constant guess is of, and which one would be right more often here."""
    counts = found.single_label.labels.bincount(minlength=len(found.class_names))
    most = found.class_names[counts.argmax()]
    words = f"Always saying {found.majority!r}, the class of most training images; a model below "
    words += "it learned nothing."
    if counts.max() > counts[found.class_names.index(found.majority)]:
        right = found.score.words(float(counts.max() / counts.sum()))
        words += f" On these images always saying {most!r} has {right}."
    return words


def _phase_row(number: int, planned: PlannedPhase, plan: Plan) -> tuple[str, ...]:
    span, phase = planned.span, planned.phase
    lrs = sorted(planned.lrs.values())
    extremes = dict.fromkeys(f"{lr:.2g}" for lr in (lrs[0], lrs[-1]))
    start, end = (step / plan.steps_per_epoch for step in (span.start, span.end))
    cut = f", ended by {phase.until.metric}" if phase.until and span.end < span.planned_end else ""
    warmup = f"warmup over {phase.warmup:.0%}, " if phase.warmup else ""
    decay = "constant" if phase.decay == "none" else f"falls to 0 ({phase.decay})"
    first, last = phase.cycle
    part = "" if (first, last) == (0, 1) else f"{first:.0%} to {last:.0%} of: "
    return (
        f"{number} {phase.name}",
        f"{start:g} to {end:g}{cut}",
        f"{phase.describe_groups(len(plan.groups))} ({sum(planned.trained.values()):,} parameters)",
        " to ".join(extremes),
        part + warmup + decay,
    )
