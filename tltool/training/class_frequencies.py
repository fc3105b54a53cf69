"""Class frequencies in a task: class weights, class-balanced sampling, and log-prior biases."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tltool._objective import Objective
from tltool.data.datamodules.class_weights import (
    ClassWeights,
    balanced_weights,
    class_weights,
    mean_one,
    positive_weights,
)
from tltool.data.loading.class_balance import Sampling
from tltool.layers.log_prior import init_log_prior_
from tltool.models.label_loss import LossOptions
from tltool.training.loss_options import loss_options


def weight_tensor(
    choice: ClassWeights | None,
    class_counts: Sequence[int] | None,
    class_names: Sequence[str],
    *,
    objective: Objective = "single_label",
    num_images: int | None = None,
) -> Tensor | None:
    """Return the weight of each class in the loss ``(num_classes,)``, or ``None`` for none.

    Of one class for each image, the mean weight over the images is 1 where counts are known, so
    that weights keep the scale of the loss.

    Args:
        choice: See `tltool.data.datamodules.class_weights`.
        class_counts: Number of training images of each class, where they are known.
        class_names: Names of the classes.
        objective: Of several classes, these are weights of the images that have the class.
        num_images: Number of training images, where it is known.

    Raises:
        ValueError: If the choice needs counts and there are none, or is no choice.

    Example:
        >>> weight_tensor("balanced", [1, 3], ["a", "b"])
        tensor([2.0000, 0.6667])
        >>> weight_tensor([3.0, 1.0], [1, 3], ["a", "b"])
        tensor([2.0000, 0.6667])
    """
    if choice is None:
        return None
    if objective == "regression":
        raise ValueError(
            "`class_weights` are of classes, and the objective is regression. Leave them out."
        )
    counts = _need(class_counts, "class_weights") if isinstance(choice, str) else []
    if objective == "multi_label" and isinstance(choice, str):
        return torch.tensor(positive_weights(choice, counts, num_images))
    weights = class_weights(choice, counts, class_names)
    if class_counts is not None and objective == "single_label":
        if len(class_counts) != len(weights):
            raise ValueError(
                f"`class_counts` are {len(class_counts)}, and there are {len(weights)} classes."
            )
        weights = mean_one(weights, class_counts)
    return torch.tensor(weights)


def fit_weights(weights: Tensor | None, labels: Tensor, sampling: Sampling) -> Tensor | None:
    """Return the class weights that make a fit on all images minimize what training does.

    Class-balanced sampling counts as `balanced_weights` do, beside the weights of the loss.

    Args:
        weights: Of the training loss ``(num_classes,)``; ``None`` for one weight.
        labels: Of the images that are fitted ``(N,)``.
        sampling: What an epoch of the training draws.

    Example:
        >>> fit_weights(None, torch.tensor([0, 0, 0, 1]), "class_balanced")
        tensor([0.6667, 2.0000])
    """
    if sampling == "shuffled":
        return weights
    counts = labels.bincount(minlength=0 if weights is None else len(weights))
    balanced = torch.tensor(balanced_weights(counts.tolist()), device=labels.device)
    return balanced if weights is None else balanced * weights


def fit_options(task: nn.Module, labels: Tensor, sampling: Sampling) -> LossOptions:
    """Return the options of a loss over all images that training minimizes, see `fit_weights`."""
    options = loss_options(task)
    options["class_weights"] = fit_weights(options["class_weights"], labels, sampling)
    return options


def balance_warning(weights: Tensor | None, sampling: Sampling) -> str | None:
    """Return what is wrong with class weights beside class-balanced sampling, if anything is.

    Example:
        >>> balance_warning(torch.ones(2), "class_balanced")
        'Class weights that are all the same change nothing, as ...'
    """
    if weights is None or sampling == "shuffled":
        return None
    if weights.allclose(weights[0]):
        return (
            "Class weights that are all the same change nothing, as `balanced` ones are where "
            "--data.sampling class_balanced draws each class equally often. Leave one of them out."
        )
    return (
        "Class weights count on top of --data.sampling class_balanced, which already draws each "
        "class equally often: rare classes may count twice. Leave one of them out."
    )


def start_from_log_prior_(head: nn.Module, class_counts: Sequence[int] | None) -> None:
    """Let a head begin with the class frequencies, see `init_log_prior_`.

    Raises:
        ValueError: If there are no counts, or the head has no linear layer ``output``.
    """
    output = getattr(head, "output", None)
    if not isinstance(output, nn.Linear):
        raise ValueError(
            f"`log_prior` needs a head with a linear layer `output`, and {type(head).__name__} has "
            "none. Leave it out."
        )
    init_log_prior_(output, _need(class_counts, "log_prior"))


def _need(class_counts: Sequence[int] | None, option: str) -> Sequence[int]:
    if class_counts is None:
        raise ValueError(
            f"`{option}` needs `class_counts`: pass class_counts=data.train_class_counts."
        )
    return class_counts
