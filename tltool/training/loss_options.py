"""The options of a task's training loss, for all that fit in its place."""

from torch import nn

from tltool.models.label_loss import LossOptions


def loss_options(task: nn.Module) -> LossOptions:
    """Return the options of a task's loss; of a task that says nothing, those of the plain one."""
    return {
        "objective": getattr(task, "objective", "single_label"),
        "class_weights": getattr(task, "class_weights", None),
        "label_smoothing": getattr(task, "label_smoothing", 0.0),
        "regression_loss": getattr(task, "regression_loss", "mse"),
    }
