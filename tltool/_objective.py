"""Objectives: the kinds of labels that a task can learn, and the metric that each is chosen by."""

from typing import Literal

Objective = Literal["single_label", "multi_label", "regression"]
"""One class for each image, any number of classes, or a number."""

SEPARATOR = ";"
"""Between the classes of an image in a cell of a table."""
MONITORS: dict[str, str] = {
    "single_label": "val/accuracy",
    "multi_label": "val/map",
    "regression": "val/mae",
}
"""What chooses the best epoch, where nothing else is given."""
MODES: dict[str, Literal["min", "max"]] = {
    "val/accuracy": "max",
    "val/f1": "max",
    "val/loss": "min",
    "val/auroc": "max",
    "val/top5_accuracy": "max",
    "val/calibration_error": "min",
    "val/map": "max",
    "val/f1_macro": "max",
    "val/exact_match": "max",
    "val/mae": "min",
    "val/rmse": "min",
    "val/r2": "max",
    "val/spearman": "max",
    "val/kappa": "max",
}
"""Metrics of the validation, and whether the least or the most is best."""


def check_mode(who: str, metric: str, mode: str) -> None:
    """Raise if a metric is to become small that is better large, or the other way.

    Args:
        who: What looks at it, for the message.
        metric: Its name; nothing is known of others than `MODES`.
        mode: ``min`` or ``max``.

    Raises:
        ValueError: With the mode to set.

    Example:
        >>> check_mode("EarlyStopping", "val/accuracy", "min")
        Traceback (most recent call last):
        ...
        ValueError: EarlyStopping takes the least 'val/accuracy' for the best. Set its `mode: max`.
    """
    right = MODES.get(metric, mode)
    if mode != right:
        extreme = "least" if mode == "min" else "greatest"
        raise ValueError(
            f"{who} takes the {extreme} {metric!r} for the best. Set its `mode: {right}`."
        )
