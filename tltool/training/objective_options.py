"""Options of a task that belong to one objective, and whether data and task have the same one."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from tltool._lookup import lookup
from tltool._objective import Objective

_FEWEST = {"single_label": 2, "multi_label": 1, "regression": 1}
# Options, the objectives that know them, and what to do without.
_OF: dict[str, tuple[set[str], str]] = {
    "label_smoothing": ({"single_label", "multi_label"}, "Set --model.label_smoothing 0."),
    "log_prior": ({"single_label"}, "Leave it out: a linear head begins as the closed-form probe."),
    "class_weights": ({"single_label", "multi_label"}, "Leave it out."),
    "thresholds": ({"multi_label"}, "Leave it out."),
    "regression_loss": ({"regression"}, "Leave it out."),
}


def check_objective(objective: Objective, num_classes: int, options: Mapping[str, Any]) -> None:
    """Raise unless an objective, its number of classes and options fit.

    Args:
        objective: What the labels are.
        num_classes: Number of the head's outputs.
        options: Values by name; what is false or the default is left out.

    Raises:
        ValueError: It names what does not fit.

    Example:
        >>> check_objective("regression", 1, {"log_prior": True})
        Traceback (most recent call last):
        ...
        ValueError: `log_prior` is not for the objective regression. Leave it out: ...
    """
    lookup(dict.fromkeys(get_args(Objective)), objective, kind="objective")
    if num_classes < _FEWEST[objective]:
        why = " to tell apart" if objective == "single_label" else ""
        fewest = _FEWEST[objective]
        raise ValueError(f"`num_classes` must be at least {fewest}{why}, got {num_classes}.")
    if objective == "regression" and num_classes > 1:
        raise ValueError(f"A regression has one output, got {num_classes} `num_classes`. Set 1.")
    for name, value in options.items():
        objectives, remedy = _OF[name]
        if value and objective not in objectives:
            raise ValueError(f"`{name}` is not for the objective {objective}. {remedy}")


def check_thresholds(thresholds: Sequence[float] | None, num_classes: int) -> list[float] | None:
    """Return the thresholds of the classes, if there is one in ``(0, 1)`` for each.

    Example:
        >>> check_thresholds([0.5, 2], 2)
        Traceback (most recent call last):
        ...
        ValueError: `thresholds` must be 2 numbers above 0 and below 1, got [0.5, 2]. ...
    """
    if thresholds is None:
        return None
    if len(thresholds) != num_classes or not all(0 < number < 1 for number in thresholds):
        raise ValueError(
            f"`thresholds` must be {num_classes} numbers above 0 and below 1, got "
            f"{list(thresholds)}. Leave them out to have them chosen on the validation images."
        )
    return [float(number) for number in thresholds]


def check_same_objective(task: Objective, data: Objective) -> None:
    """Raise if a task and its data have different kinds of labels.

    Example:
        >>> check_same_objective("regression", "single_label")
        Traceback (most recent call last):
        ...
        ValueError: The task's objective is regression, and that of its data is single_label. ...
    """
    if task != data:
        raise ValueError(
            f"The task's objective is {task}, and that of its data is {data}. Pass "
            "objective=data.objective to the task."
        )
