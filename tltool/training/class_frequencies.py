"""Class frequencies in a task: class weights of the loss, and log-prior biases of the head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tltool.data.datamodules.class_weights import ClassWeights, class_weights
from tltool.layers.log_prior import init_log_prior_


def weight_tensor(
    choice: ClassWeights | None, class_counts: Sequence[int] | None, class_names: Sequence[str]
) -> Tensor | None:
    """Return the weight of each class in the loss ``(num_classes,)``, or ``None`` for none.

    Args:
        choice: See `tltool.data.datamodules.class_weights`.
        class_counts: Number of training images of each class, where they are known.
        class_names: Names of the classes.

    Raises:
        ValueError: If the choice needs counts and there are none, or is no choice.

    Example:
        >>> weight_tensor("balanced", [1, 3], ["a", "b"])
        tensor([2.0000, 0.6667])
    """
    if choice is None:
        return None
    counts = _need(class_counts, "class_weights") if isinstance(choice, str) else []
    return torch.tensor(class_weights(choice, counts, class_names))


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
