"""Normalization layers by name, for features ``(B, num_features)``."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from tltool._lookup import lookup
from tltool._spec import Spec, build, parse_spec


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


def layer_norm(num_features: int, *, eps: float = 1e-5, affine: bool = True) -> nn.LayerNorm:
    """Return a normalization of each sample over its features (Ba et al., 2016).

    https://arxiv.org/abs/1607.06450

    Raises:
        ValueError: If there is one feature only, which it would set to 0.

    Example:
        >>> layer_norm(8)
        LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
    """
    _check_group_size(num_features, "layer")
    return nn.LayerNorm(num_features, eps=eps, elementwise_affine=affine)


def group_norm(
    num_features: int, *, num_groups: int | None = None, eps: float = 1e-5, affine: bool = True
) -> nn.GroupNorm:
    """Return a normalization of each sample over groups of its features (Wu & He, 2018).

    https://arxiv.org/abs/1803.08494

    Args:
        num_features: Number of features.
        num_groups: Number of groups, a divisor of ``num_features``; ``None`` for the largest number
            up to 32 that leaves at least 8 features in a group.
        eps: Added to the variance.
        affine: Whether it learns a scale and a shift for each feature.

    Raises:
        ValueError: If the groups are not of one size, or hold one feature each.

    Example:
        >>> group_norm(256).num_groups, group_norm(100).num_groups
        (32, 10)
    """
    divisors = [n for n in range(1, num_features + 1) if num_features % n == 0]
    if num_groups is None:
        num_groups = max(n for n in divisors if n == 1 or (n <= 32 and num_features // n >= 8))
    if num_groups not in divisors:
        nearest = min(divisors, key=lambda divisor: abs(divisor - num_groups))
        raise ValueError(
            f"`num_groups` must divide the {num_features} features evenly, got {num_groups}. The "
            f"nearest number that does is {nearest}."
        )
    _check_group_size(num_features // num_groups, "group")
    return nn.GroupNorm(num_groups, num_features, eps=eps, affine=affine)


def rms_norm(num_features: int, *, eps: float = 1e-6, affine: bool = True) -> nn.RMSNorm:
    """Return a division of each sample by the root mean square of its features.

    Zhang & Sennrich, 2019, https://arxiv.org/abs/1910.07467

    Example:
        >>> rms_norm(8)
        RMSNorm((8,), eps=1e-06, elementwise_affine=True)
    """
    return nn.RMSNorm(num_features, eps=eps, elementwise_affine=affine)


def _check_group_size(size: int, name: str) -> None:
    if size < 2:
        raise ValueError(
            f"{name} norm over one feature always gives 0, whatever the input. Normalize over at "
            "least 2, with more features or fewer groups, or set `norm: null`."
        )


class Norm(NamedTuple):
    """How a normalization is made, and what follows from its formula."""

    factory: Callable[..., nn.Module]
    #: Whether it subtracts whatever constant the linear layer in front adds to a feature.
    cancels_bias: bool = False
    #: Whether what it does to one sample depends on the others of a training batch.
    mixes_samples: bool = False


#: Each normalization by its name. ``none`` stands for no layer at all.
NORMS: dict[str, Norm | None] = {
    "batch": Norm(BatchNorm, cancels_bias=True, mixes_samples=True),
    "layer": Norm(layer_norm),
    "group": Norm(group_norm),
    "rms": Norm(rms_norm),
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
