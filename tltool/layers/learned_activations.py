"""Learned activations, with parameters of their own: maxout, swish with beta, prelu."""

import torch
from torch import Tensor, nn


class MaxoutLinear(nn.Module):
    """Return the largest of ``k`` linear functions of the input, for each output.

    Goodfellow et al., 2013, https://arxiv.org/abs/1302.4389. It is a linear layer and its
    activation in one: the maximum over its pieces learns the shape of the activation.

    Args:
        in_features: Number of input features.
        out_features: Number of output features.
        k: Number of linear pieces for each output, at least 2. Parameters and cost grow with it.
        bias: Whether the pieces have a bias.
        norm: Normalizes the ``k * out_features`` pieces before the maximum; ``None`` for nothing.

    Shape:
        - Input: ``(*, in_features)``
        - Output: ``(*, out_features)``

    Raises:
        ValueError: If ``k`` is less than 2.

    Example:
        >>> MaxoutLinear(512, 256, k=3)(torch.randn(4, 512)).shape
        torch.Size([4, 256])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        k: int = 2,
        *,
        bias: bool = True,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if k < 2:
            raise ValueError(
                f"`k` of maxout must be at least 2, got {k}: one piece alone is a linear layer. "
                "For that, set the activation to identity."
            )
        self.in_features = in_features
        self.out_features = out_features
        self.k = k
        self.linear = nn.Linear(in_features, k * out_features, bias=bias)
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        """Return the maximum over the pieces."""
        pieces: Tensor = self.linear(features)  # (*, k * out_features)
        if self.norm is not None:
            pieces = self.norm(pieces)
        pieces = pieces.view(*pieces.shape[:-1], self.k, self.out_features)
        return pieces.amax(dim=-2)

    def extra_repr(self) -> str:
        """Return what ``print`` shows besides the layers inside."""
        return f"out_features={self.out_features}, k={self.k}"


class SwishBeta(nn.Module):
    """Return ``z * sigmoid(beta * z)`` with one learned ``beta``.

    Ramachandran et al., 2017, https://arxiv.org/abs/1710.05941. It lies between a line (``beta =
    0``) and relu (``beta`` large); ``beta = 1`` is silu.

    Args:
        init: Initial value of ``beta``.

    Shape:
        - Input: ``(*)``, any shape
        - Output: ``(*)``, the same shape

    Example:
        >>> SwishBeta(init=0.0)(torch.tensor([-2.0, 4.0])).tolist()
        [-1.0, 2.0]
    """

    def __init__(self, init: float = 1.0) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor([float(init)]))

    def forward(self, z: Tensor) -> Tensor:
        """Return the activations of ``z``."""
        return z * torch.sigmoid(self.beta * z)


def prelu(num_channels: int | None, *, per_channel: bool = False, init: float = 0.25) -> nn.PReLU:
    """Return a leaky relu whose negative slope is learned.

    He et al., 2015, https://arxiv.org/abs/1502.01852.

    Args:
        num_channels: Width of the layer; needed for ``per_channel`` only.
        per_channel: Whether each channel learns its own slope, or all share one.
        init: Initial slope for negative inputs.

    Raises:
        ValueError: If the slopes are per channel and nobody knows how many channels there are.

    Example:
        >>> prelu(64, per_channel=True)
        PReLU(num_parameters=64)
    """
    if not per_channel:
        return nn.PReLU(1, init=init)
    if num_channels is None:
        raise ValueError(
            "prelu with `per_channel` needs the number of channels: call "
            "create_activation({...}, num_channels=64), or leave `per_channel` out for one slope."
        )
    return nn.PReLU(num_channels, init=init)
