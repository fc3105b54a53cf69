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
