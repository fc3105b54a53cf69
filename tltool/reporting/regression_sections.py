"""Sections of a report on predicted numbers: scores, predicted over true, residuals, worst ones."""

from collections.abc import Sequence

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.regression import KAPPA, NEAREST, RegressionPredictions
from tltool.reporting.figures.regression import draw_predicted, draw_residuals
from tltool.reporting.html.images import picture
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.report import Section
from tltool.reporting.tables import FactTable
from tltool.reporting.worst_mistakes import worst_section

_MEANINGS = {
    "MAE": "Mean absolute error, in units of the target.",
    "RMSE": "Root of the mean squared error, which large errors dominate.",
    "R2": "Share of the variance that is explained; always saying the mean is 0.",
    "Spearman": "Rank correlation: whether the order is right.",
    KAPPA: "Agreement of levels beyond chance, quadratic weights.",
    NEAREST: "Share of images whose nearest level is the true one.",
}


def regression_sections(
    found: MeasuredSplit, predictions: RegressionPredictions, run: MeasuredRun | None
) -> list[Section]:
    """Return all scores, predicted over true values, residuals and the worst mistakes.

    Args:
        found: The split that was measured.
        predictions: Its predictions.
        run: Decodes the images of the worst mistakes; ``None`` leaves them out.
    """
    (target,) = found.class_names
    scatter = picture(
        draw_predicted(predictions, target),
        "Predicted over true values; on the diagonal they are right.",
    )
    residuals = predictions.residuals
    bias = float(residuals.mean())
    words = (
        f"Predictions are on average {abs(bias):.4g} too {'high' if bias > 0 else 'low'}; half of "
        f"them are within {float(residuals.abs().median()):.4g} of the true value."
    )
    spread = picture(draw_residuals(predictions, target), "Predicted less true values.")
    return [
        Section("Scores", table=regression_table(predictions, found.groups), dashboard="classes"),
        Section("Predicted and true values", pictures=[scatter]),
        Section("Residuals", [words], pictures=[spread]),
        worst_section(found, run),
    ]


def regression_table(
    predictions: RegressionPredictions, groups: Sequence[int] | None = None
) -> FactTable:
    """Return one row for each score, with its 95 % interval.

    Args:
        predictions: Of a split.
        groups: The group of each image.
    """
    rows = []
    for name, (value, _, (low, high)) in predictions.intervals(groups).items():
        rows.append((name, f"{value:.4g}", f"{low:.4g} to {high:.4g}", _MEANINGS[name]))
    return FactTable(("score", "value", "95 % interval", "what it means"), rows, (1, 2))
