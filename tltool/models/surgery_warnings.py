"""Warnings about edits of a backbone that defeat themselves."""

from collections.abc import Sequence

from torch import nn

from tltool.models.head_warnings import saturating
from tltool.surgery.activation_swap import ActivationSwap


def surgery_warnings(model: nn.Module, reports: Sequence[ActivationSwap]) -> list[str]:
    """Return a sentence for each edit that defeats itself, with the reason and the remedy.

    Args:
        model: The edited model.
        reports: What each edit changed.

    Example:
        >>> from tltool.surgery.activation_swap import swap_activations
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> surgery_warnings(model, [swap_activations(model, "tanh")])
        ['tanh in hidden layers saturates, ... Swap for another, such as silu.']
    """
    warnings = []
    for name in dict.fromkeys(report.to for report in reports if report.num_swapped):
        warnings += saturating(name, "Swap for another, such as silu.")
        norms = [module for module in model.modules() if "Norm" in type(module).__name__]
        if name == "selu" and norms:
            warnings.append(
                f"selu in a backbone with {len(norms)} norms: selu normalizes by itself, and a "
                "norm undoes that (Klambauer et al., 2017, https://arxiv.org/abs/1706.02515). "
                "Swap for elu."
            )
    return warnings
