"""Loss and predictions of each objective: from logits to classes, several classes, or a number."""

from typing import Literal, TypedDict, Unpack

from torch import Tensor
from torch.nn import functional

from tltool._objective import Objective

RegressionLoss = Literal["mse", "huber"]


class LossOptions(TypedDict, total=False):
    """Options of the loss that training minimizes.

    Args:
        objective: What the labels are.
        class_weights: What the loss of an image is multiplied by, for its class
            ``(num_classes,)``; of several classes the weight of the images that have the class;
            ``None`` counts all alike. The mean is over images. PyTorch's is over their weights, so
            that an image weighs the less the more its batch weighs, and the loss depends on batch
            size and number of devices.
        label_smoothing: Share of the target probability that is spread over all classes, or of
            several classes over having one and not.
        regression_loss: ``mse``, or ``huber`` (1964), which counts an error of more than one
            standard deviation of the target linearly.
    """

    objective: Objective
    class_weights: Tensor | None
    label_smoothing: float
    regression_loss: RegressionLoss


def label_loss(logits: Tensor, labels: Tensor, **loss: Unpack[LossOptions]) -> Tensor:
    """Return the mean loss of logits.

    Args:
        logits: ``(B, num_classes)``, unnormalized; of numbers ``(B, 1)``, standardized.
        labels: Classes ``(B,)`` or their probabilities ``(B, num_classes)``; several classes
            ``(B, num_classes)`` of 0 to 1; numbers ``(B,)``, standardized.
        **loss: See `LossOptions`.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[9.0, -9.0]]), torch.tensor([0])
        >>> label_loss(logits, labels) < label_loss(logits, labels, label_smoothing=0.1)
        tensor(True)
        >>> label_loss(logits, torch.tensor([[1.0, 0.0]]), objective="multi_label")
        tensor(0.0001)
        >>> label_loss(torch.tensor([[3.0]]), torch.tensor([1.0]), objective="regression")
        tensor(4.)
    """
    objective = loss.get("objective", "single_label")
    weights, smoothing = loss.get("class_weights"), loss.get("label_smoothing", 0.0)
    if objective == "regression":
        is_huber = loss.get("regression_loss") == "huber"
        function = functional.huber_loss if is_huber else functional.mse_loss
        return function(logits[:, 0], labels.to(logits.dtype))
    if objective == "multi_label":
        targets = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    if weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    losses = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    of_images = weights[labels] if labels.ndim == 1 else labels.to(weights.dtype) @ weights
    return (of_images * losses).mean()


def label_predictions(logits: Tensor, objective: Objective) -> Tensor:
    """Return probabilities of the classes ``(B, num_classes)``, or standardized numbers ``(B, 1)``.

    Example:
        >>> import torch
        >>> label_predictions(torch.zeros(1, 4), "single_label")
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
        >>> label_predictions(torch.zeros(1, 2), "multi_label")
        tensor([[0.5000, 0.5000]])
    """
    if objective == "single_label":
        return logits.softmax(dim=-1)
    return logits.sigmoid() if objective == "multi_label" else logits
