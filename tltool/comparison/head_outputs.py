"""What heads predict, how it is scored, and the loss of each image, for any kind of labels."""

from torch import Tensor
from torch.nn import functional

from tltool._objective import Objective
from tltool.evaluation.average_precision import mean_average_precision
from tltool.evaluation.regression_scores import absolute_errors


def num_outputs(labels: Tensor, objective: Objective) -> int:
    """Return the number of a head's outputs for labels.

    Example:
        >>> import torch
        >>> num_outputs(torch.tensor([0, 2]), "single_label")
        3
    """
    if objective == "single_label":
        return int(labels.max()) + 1
    return labels.shape[1] if objective == "multi_label" else 1


def image_losses(logits: Tensor, labels: Tensor, objective: Objective) -> Tensor:
    """Return the loss of each image, without weights and smoothing, ``(H, N)``.

    Args:
        logits: ``(H, N, K)``.
        labels: ``(N,)``, or ``(N, K)`` of several classes; of numbers standardized.
        objective: What is learned.
    """
    targets = labels.expand(len(logits), *labels.shape)
    if objective == "multi_label":
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return losses.mean(dim=2)
    if objective == "regression":
        return (logits[..., 0] - targets).square()
    return functional.cross_entropy(logits.mT, targets, reduction="none")


def kept_outputs(logits: Tensor, labels: Tensor, objective: Objective) -> Tensor:
    """Return what is kept of each image.

    Where a training has diverged, what is no number is taken as chance: even odds, the mean.

    Args:
        logits: ``(H, N, K)``.
        labels: See `image_losses`.
        objective: What is learned.

    Returns:
        Whether it is right ``(H, N)``; the probability of each class ``(H, N, K)``; or a number
        ``(H, N)``, standardized.
    """
    if objective == "single_label":
        return logits.argmax(dim=2) == labels
    logits = logits.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return logits.sigmoid() if objective == "multi_label" else logits[..., 0]


def per_image(outputs: Tensor, labels: Tensor, objective: Objective) -> Tensor:
    """Return what each image contributes to the score of one head, ``(N,)``.

    Args:
        outputs: Of the head, see `kept_outputs`; numbers in units of the labels.
        labels: ``(N,)``, or ``(N, K)`` of several classes.
        objective: What is learned.

    Example:
        >>> import torch
        >>> per_image(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]), "regression").tolist()
        [0.5, 0.0]
    """
    if objective == "multi_label":
        return mean_average_precision(outputs, labels)[1]
    if objective == "regression":
        return absolute_errors(labels, outputs)
    return outputs.double()
