"""Activity of the hidden units of a trained head: shares of dead and of saturated ones."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from tltool.layers.activation_behavior import SaturatedRegion


@torch.no_grad()
def hidden_activity(head: nn.Module, rows: Tensor, region: SaturatedRegion) -> tuple[float, float]:
    """Return the share of dead hidden units, and of saturated pairs of image and hidden unit.

    A unit is saturated for an image if its activation passes less than 1 % of its steepest slope
    there, and dead if that holds for every image: no image teaches it anything.

    Args:
        head: A ``Head``. It is left in evaluation mode.
        rows: Features ``(N, num_features)``.
        region: The inputs that saturate the head's activation, see `saturated_region`.

    Returns:
        Both are 0 without hidden layers.
    """
    masks: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        masks.append((inputs[0] <= region.below) | (inputs[0] >= region.above))

    with ExitStack() as hooks:
        for name, module in head.named_modules():
            if name.startswith("hidden.") and name.endswith(".activation"):
                hooks.enter_context(module.register_forward_pre_hook(look))
        head.eval()(rows)
    if not masks:
        return 0.0, 0.0
    dead = torch.cat([mask.all(dim=0) for mask in masks]).double().mean()
    saturated = torch.cat([mask.flatten() for mask in masks]).double().mean()
    return float(dead), float(saturated)
