"""The optimizer of a task: all parameters from the start, in named groups."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from tltool.finetuning.param_groups import param_groups
from tltool.training.classifier import Classifier

OptimizerFactory = Callable[[Any], Optimizer]

DEFAULT_OPTIMIZER = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05)
"""That of ``tltool fit`` and of a comparison too."""


def check_options(factory: OptimizerFactory) -> None:
    """Raise if an optimizer refuses its options, before there are parameters for it.

    Raises:
        ValueError: It names the value, or what the class wants instead of parameters.

    Example:
        >>> check_options(lambda parameters: torch.optim.AdamW(parameters, lr=-1.0))
        Traceback (most recent call last):
        ...
        ValueError: The optimizer cannot be made: Invalid learning rate: -1.0. Set another value...
    """
    try:
        factory([torch.nn.Parameter(torch.zeros(1, 1))])
    except ValueError as error:
        raise ValueError(
            f"The optimizer cannot be made: {error}. Set another value of it, such as "
            "--optimizer.lr 0.001."
        ) from error
    except (AttributeError, TypeError) as error:  # Such as timm's Lookahead, which wraps another.
        raise ValueError(
            f"The optimizer cannot be made from parameters alone: {error}. Choose another, such as "
            "AdamW."
        ) from error


def make_optimizer(
    task: Classifier, factory: OptimizerFactory, *, decays_backbone: bool = True
) -> Optimizer:
    """Make an optimizer over all parameters of a task.

    Args:
        task: The task.
        factory: Makes it from parameter groups.
        decays_backbone: Whether the backbone has the weight decay that the factory has bound.

    Raises:
        ValueError: If the optimizer cannot work with parameter groups, or with these parameters.

    Example:
        >>> from tltool import Backbone, ImageTask
        >>> task = ImageTask(Backbone("test_resnet", weights="random"), num_classes=2)
        >>> len(make_optimizer(task, torch.optim.SGD).param_groups)
        12
    """
    no_decay = {f"backbone.{name}" for name in task.backbone.no_weight_decay()}
    # None: the factory has bound its own weight decay.
    groups = param_groups(task, weight_decay=None, no_weight_decay=no_decay)
    if not decays_backbone:
        for group in groups:
            if group["name"].startswith("backbone."):
                group["weight_decay"] = 0.0
    try:
        optimizer = factory(groups)
    except ValueError as error:
        raise ValueError(
            f"This optimizer cannot train the task: {error}. Choose another, such as AdamW."
        ) from error
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ValueError("SparseAdam needs sparse gradients, but these are dense. Use Adam.")
    return optimizer
