"""Normalization layers by name, for features ``(B, num_features)``."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from tltool.layers.lookup import lookup
from tltool.layers.spec import Spec, build, parse_spec


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization of features that takes any batch, also one of a single sample.

    A batch has no variance where it holds one sample, so ``nn.BatchNorm1d`` raises there, often at
    the last batch of an epoch. This one normalizes it by the running statistics, as in evaluation,
    and leaves them alone. Ioffe & Szegedy, 2015, https://arxiv.org/abs/1502.03167.

    Args:
        num_features: Number of features.
        eps: Added to the variance.
        momentum: Weight of the newest batch in the running statistics; ``None`` for their plain
            mean.
        affine: Whether it learns a scale and a shift for each feature.

    Shape:
        - Input: ``(B, num_features)``
        - Output: ``(B, num_features)``

    Example:
        >>> import torch
        >>> BatchNorm(8).train()(torch.randn(1, 8)).shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, affine=affine)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name in nn.BatchNorm1d
        """Return the normalized features."""
        if not self.training or input.shape[0] > 1:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class Norm(NamedTuple):
    """How a normalization is made, and what follows from its formula."""

    factory: Callable[..., nn.Module]
    cancels_bias: bool
    """Whether it subtracts whatever constant the linear layer in front adds to a feature."""


#: Each normalization by its name. ``none`` stands for no layer at all.
NORMS: dict[str, Norm | None] = {
    "batch": Norm(BatchNorm, cancels_bias=True),
    "none": None,
}


def find_norm(spec: Spec | None) -> Norm | None:
    """Return the entry of ``NORMS`` that a specification names, or ``None`` for no normalization.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> find_norm("batch").cancels_bias
        True
    """
    if spec is None:
        return None
    name, _ = parse_spec(spec, kind="norm")
    return lookup(NORMS, name, kind="norm")


def create_norm(spec: Spec | None, num_features: int) -> nn.Module | None:
    """Return a new normalization of ``num_features`` features, or ``None`` for no normalization.

    Args:
        spec: A name in ``NORMS``, a mapping of a name and arguments such as ``{name: batch,
            momentum: 0.01}``, or ``None``.
        num_features: Width of the layer to normalize.

    Raises:
        ValueError: If the name or an argument is unknown.
        TypeError: If ``spec`` or an argument is of the wrong type.

    Example:
        >>> create_norm("batch", 256)
        BatchNorm(256, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        >>> create_norm("none", 256) is None
        True
    """
    norm = find_norm(spec)
    if spec is None or norm is None:
        return None
    name, arguments = parse_spec(spec, kind="norm")
    return build(norm.factory, name, arguments, num_features)
