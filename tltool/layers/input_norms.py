"""Input normalizations of a head by name: center, standardize, whiten, batch, unit length."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._lookup import lookup
from tltool._spec import Spec, build, parse_spec
from tltool.layers.fitted_norms import Center, FittedNorm, Standardize, Whiten
from tltool.layers.norms import BatchNorm


class UnitLength(nn.Module):
    """Divide each sample's features by their Euclidean length.

    Example:
        >>> UnitLength()(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return features of length 1."""
        return functional.normalize(features, dim=-1)


def _batch(num_features: int, *, eps: float = 1e-6, momentum: float = 0.1) -> BatchNorm:
    return BatchNorm(num_features, eps=eps, momentum=momentum, affine=False)


#: Each normalization of a head's inputs by its name. ``batch`` learns no scale and no shift (He et
#: al., 2021, section A.1, https://arxiv.org/abs/2111.06377). ``l2`` reached a low training loss
#: later than raw features did, on both data sets of `scripts/benchmark/README.md`, at about the
#: same accuracy.
INPUT_NORMS: dict[str, Callable[..., nn.Module] | None] = {
    "center": Center,
    "standardize": Standardize,
    "batch": _batch,
    "l2": lambda num_features: UnitLength(),
    "whiten": Whiten,
    "none": None,
}


def create_input_norm(spec: Spec | None, num_features: int) -> nn.Module | None:
    """Return a new normalization of a head's inputs, or ``None`` for none.

    Args:
        spec: A name in ``INPUT_NORMS``, a mapping of a name and arguments such as
            ``{name: whiten, eps: 0.1}``, or ``None``.
        num_features: Number of features.

    Raises:
        ValueError: If the name or an argument is unknown.

    Example:
        >>> create_input_norm("standardize", 512)
        Standardize(512, is_fitted=False)
    """
    if spec is None:
        return None
    name, arguments = parse_spec(spec, kind="input_norm")
    factory = lookup(INPUT_NORMS, name, kind="input_norm")
    return None if factory is None else build(factory, name, arguments, num_features)


def is_foldable(input_norm: nn.Module) -> bool:
    """Tell whether a normalization in evaluation mode is a fixed affine map of each feature vector.

    Example:
        >>> is_foldable(Center(2)), is_foldable(UnitLength())
        (True, False)
    """
    is_plain_batch_norm = isinstance(input_norm, BatchNorm) and not input_norm.affine
    return isinstance(input_norm, FittedNorm) or is_plain_batch_norm


@torch.no_grad()
def fold_into_linear(input_norm: nn.Module, linear: nn.Linear) -> nn.Linear:
    """Return one linear layer that does what a normalization and the linear layer behind it do.

    Args:
        input_norm: A fitted ``center``, ``standardize`` or ``whiten``, or ``batch``, whose running
            statistics are taken.
        linear: The layer behind it. It stays as it is.

    Returns:
        A new layer, with a bias.

    Raises:
        TypeError: If the normalization is no affine map, as ``l2``.
        RuntimeError: If it is not fitted.

    Example:
        >>> norm = Center(2).fit_(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> linear, x = nn.Linear(2, 3), torch.randn(4, 2)
        >>> torch.allclose(fold_into_linear(norm, linear)(x), linear(norm(x)), atol=1e-5)
        True
    """
    weight = linear.weight.double()
    if isinstance(input_norm, FittedNorm):
        input_norm.check_fitted()
        mean = input_norm.mean.double()
        weight = copy.deepcopy(input_norm).double().apply_scale(weight)
    elif isinstance(input_norm, BatchNorm) and not input_norm.affine:
        running: dict[str, Tensor] = dict(input_norm.named_buffers())
        mean = running["running_mean"].double()
        weight = weight * (running["running_var"].double() + input_norm.eps).rsqrt()
    else:
        raise TypeError(
            f"{type(input_norm).__name__} cannot be folded into a linear layer, as it is no fixed "
            "affine map. Keep it in front of the layer."
        )
    folded = nn.Linear(linear.in_features, linear.out_features).to(linear.weight)
    folded.weight.copy_(weight)
    folded.bias.copy_((0 if linear.bias is None else linear.bias) - weight @ mean)
    return folded
