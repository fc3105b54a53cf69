"""Class weights and label smoothing: the options of the training loss, shared by all that fit."""

from typing import TypedDict, Unpack

from torch import Tensor, nn
from torch.nn import functional


class LossOptions(TypedDict, total=False):
    """Options of the cross-entropy that training minimizes.

    Args:
        class_weights: Weights of the classes ``(num_classes,)``; ``None`` counts all alike.
        label_smoothing: Share of the target probability that is spread over all classes.
    """

    class_weights: Tensor | None
    label_smoothing: float


def loss_options(task: nn.Module) -> LossOptions:
    """Return the options of a task's loss; of a task that says nothing, those of the plain one."""
    return {
        "class_weights": getattr(task, "class_weights", None),
        "label_smoothing": getattr(task, "label_smoothing", 0.0),
    }


def cross_entropy(logits: Tensor, labels: Tensor, **loss: Unpack[LossOptions]) -> Tensor:
    """Return the mean loss of logits ``(B, num_classes)``.

    Args:
        logits: Unnormalized.
        labels: ``(B,)``, or probabilities ``(B, num_classes)``.
        **loss: See `LossOptions`.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[9.0, -9.0]]), torch.tensor([0])
        >>> cross_entropy(logits, labels) < cross_entropy(logits, labels, label_smoothing=0.1)
        tensor(True)
    """
    return functional.cross_entropy(
        logits,
        labels,
        weight=loss.get("class_weights"),
        label_smoothing=loss.get("label_smoothing", 0.0),
    )
