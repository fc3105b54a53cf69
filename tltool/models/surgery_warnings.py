"""Warnings about edits of a backbone that defeat themselves."""

from collections.abc import Sequence

from torch import nn

from tltool.models.head_warnings import MESSAGES, SATURATING
from tltool.surgery.activation_swap_report import ActivationSwap
from tltool.surgery.edits import EditReport


def surgery_warnings(model: nn.Module, reports: Sequence[EditReport]) -> list[str]:
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
    num_norms = sum("Norm" in type(module).__name__ for module in model.modules())
    swaps = [report for report in reports if isinstance(report, ActivationSwap)]
    for name in dict.fromkeys(swap.to for swap in swaps if swap.num_swapped):
        if name in SATURATING:
            warnings.append(MESSAGES["surgery"]["saturating"].format(activation=name))
        if name == "selu" and num_norms:
            warnings.append(MESSAGES["surgery"]["selu_with_norms"].format(num_norms=num_norms))
    return warnings
