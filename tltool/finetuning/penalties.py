"""L2-SP: a penalty on the distance of weights to those that fine-tuning started from."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class L2SP:
    """Half the squared distance of the trainable weights to their starting point, times a strength.

    The penalty ``strength / 2 * ||w - w0||^2`` (Li et al., 2018, https://arxiv.org/abs/1802.01483)
    takes the place of weight decay, which pulls to zero instead, in pretrained layers. Like weight
    decay here it leaves out biases, norms and other parameters of fewer than two dimensions. It is
    part of the loss, as in the paper, so what Adam and its kin make of it depends on their scale of
    the gradients; the paper's strengths are for SGD.

    Only what trains has a starting point, noted when it is first penalized: until then it was
    frozen, and is as it was at the start. So phases that unfreeze more need nothing else.

    Args:
        strength: In the paper 0.001 to 1, mostly 0.1. 0 for no penalty.

    Raises:
        ValueError: If ``strength`` is negative or no number.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> penalty = L2SP(0.5)
        >>> penalty(layer).item()
        0.0
        >>> _ = layer.weight.data.add_(2.0)
        >>> round(penalty(layer).item(), 4)
        2.0
    """

    def __init__(self, strength: float) -> None:
        if not (strength >= 0 and math.isfinite(strength)):
            raise ValueError(f"`l2_sp` must not be negative, got {strength}. Usual: 0.001 to 1.")
        self.strength = strength
        self._start: dict[str, Tensor] = {}

    def __call__(self, module: nn.Module) -> Tensor:
        """Return the penalty of a module's trainable weights, with their gradients."""
        weights = {n: p for n, p in module.named_parameters() if p.requires_grad and p.ndim > 1}
        distances = [
            (weight - self._start_of(name, weight)).float().square().sum()
            for name, weight in weights.items()
        ]
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        return self.strength / 2 * torch.stack([torch.zeros((), device=device), *distances]).sum()

    def _start_of(self, name: str, weight: nn.Parameter) -> Tensor:
        start = self._start.get(name)
        start = weight.detach().clone() if start is None else start.to(weight.device)
        self._start[name] = start
        return start

    def state_dict(self) -> dict[str, Any]:
        """Return the starting points, by the names of the weights."""
        return dict(self._start)

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Restore the starting points from a checkpoint."""
        self._start = dict(state_dict)

    def reset(self) -> None:
        """Forget the starting points: a new training begins."""
        self._start.clear()
