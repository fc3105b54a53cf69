"""Report on the log of a plain Lightning Trainer: its curves, and what it does not tell."""

import math

from tltool._plain_text import one_line, shell_command
from tltool.evaluation.verdict import Mark
from tltool.reporting.lightning_log import LightningLog
from tltool.reporting.report import Report, Section
from tltool.reporting.run_report import curve_section, health_section
from tltool.reporting.run_verdict import Verdict
from tltool.reporting.tables import FactTable

MOST_PANELS = 12


def log_report(log: LightningLog) -> Report:
    """Return what a log tells, and in words what it does not.

    Args:
        log: The log.
    """
    curves = dict(list(log.curves.items())[:MOST_PANELS])
    left_out = len(log.curves) - len(curves)
    note = f"{left_out} more metrics are in the table above." if left_out else ""
    rows = [(name, one_line(value)) for name, value in log.hparams.items()]
    table = FactTable(("", ""), rows)
    return Report(
        f"tltool: {log.log_dir.parent.name}/{log.log_dir.name}",
        _verdict(log),
        [
            *([Section("Hyperparameters", table=table)] if rows else []),
            curve_section("Learning curves", curves, note),
            *([health_section(log.health, log.alarms)] if log.health is not None else []),
        ],
        [*log.missing, *_not_told(log)],
        metric_table(log),
    )


def metric_table(log: LightningLog) -> FactTable:
    """Return a row for each metric: its values over the epochs, the extremes without NaN."""
    columns = ["metric", "epochs", "first", "last", "lowest", "in epoch", "highest", "in epoch"]
    rows = []
    for name, points in log.metrics.items():
        known = [point for point in points if not math.isnan(point[1])] or points
        lowest, highest = (pick(known, key=lambda point: point[1]) for pick in (min, max))
        ends = [len(points), points[0][1], points[-1][1]]
        rows.append([name, *ends, lowest[1], lowest[0] + 1, highest[1], highest[0] + 1])
    return FactTable(columns, rows, range(1, len(columns)))


def _not_told(log: LightningLog) -> list[str]:
    said = "There is no config.yaml of tltool fit: strategy, phases, images and split are unknown."
    health = "There is no health.csv: a Trainer with the callback tltool.HealthMonitor() writes it."
    if log.own:
        why = "The checkpoints were not measured, for the log does not say on which images."
    elif log.foreign:
        names = ", ".join(path.name for path in log.foreign[:3])
        why = (
            f"{names} cannot predict: no checkpoint of tltool, which says how to rebuild the "
            "model. So there are no confusion matrix, no classes, no mistakes and no baselines."
        )
    else:
        why = "There is no checkpoint, so nothing could predict."
    return [said, *([health] if log.health is None else []), why]


def _verdict(log: LightningLog) -> Verdict:
    answer = (
        "It cannot be told whether it worked: the log has metrics, but no predictions and no "
        "baseline to compare them with."
    )
    if log.own:
        where = ("--ckpt_path", log.own[-1], "--data.root", "DIRECTORY")
        return Verdict(
            Mark.UNKNOWN,
            answer,
            "Measure the checkpoint on images with labels:",
            [shell_command("tltool", "validate", *where)],
        )
    return Verdict(
        Mark.UNKNOWN,
        answer,
        "Train on the same images by tltool, which measures a baseline first:",
        [shell_command("tltool", "fit", "--data.root", "DIRECTORY")],
    )
