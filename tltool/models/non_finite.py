"""Tensors of a model that hold NaN or infinity: weights from which no prediction follows."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from tltool.layers.fitted_norms import FittedNorm


def non_finite_tensors(module: nn.Module, *, trained_only: bool = False) -> list[str]:
    """Return the names of the parameters and saved buffers that hold NaN or infinity.

    Minus infinity in a buffer is no fault, for attention masks hold it; nor is a buffer of one
    number that is infinite, a bound that is off (gemma4_vit clips by such), nor are the numbers of
    a `FittedNorm` that is not fitted yet.

    Args:
        module: The model; of sharded weights, those that lie here are looked at.
        trained_only: Look at the parameters that require a gradient alone, which takes less time.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.constant_(layer.bias, torch.nan)
        >>> non_finite_tensors(nn.Sequential(layer))
        ['0.bias']
    """
    found = {
        name: is_finite
        for name, tensor, is_parameter in _tensors(module)
        if (tensor.requires_grad or not trained_only)
        and (is_finite := _is_finite(tensor, is_buffer=not is_parameter)) is not None
    }
    if not found:
        return []
    finite = torch.stack(list(found.values())).tolist()  # Once, for it waits for a GPU.
    return [name for name, is_finite in zip(found, finite, strict=True) if not is_finite]


def check_finite(module: nn.Module, source: object) -> None:
    """Refuse a checkpoint whose weights are no numbers, see `non_finite_tensors`.

    Args:
        module: The model, with the weights.
        source: The checkpoint, for the message.

    Raises:
        ValueError: If there are such.
    """
    found = non_finite_tensors(module)
    if found:
        raise ValueError(
            f"{source} holds NaN or infinity in {listed_tensors(found)}. Training had diverged "
            "when it was saved: take an earlier checkpoint, or train again with a lower learning "
            "rate."
        )


def listed_tensors(names: Sequence[str], limit: int = 3) -> str:
    """Return names of tensors in words, with how many there are.

    Example:
        >>> listed_tensors(["a", "b", "c", "d"]), listed_tensors(["a"])
        ('4 tensors: a, b, c, ...', '1 tensor: a')
    """
    noun, more = "tensor" if len(names) == 1 else "tensors", ", ..." if len(names) > limit else ""
    return f"{len(names)} {noun}: {', '.join(names[:limit])}{more}"


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield name, tensor and whether it is a parameter, of what a state dict holds."""
    unfitted = {
        f"{path}.{name}"
        for path, member in module.named_modules()
        if isinstance(member, FittedNorm) and not member.is_fitted
        for name, _ in member.named_buffers()
    }
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name not in unfitted:
            yield name, tensor, name in parameters


def _is_finite(tensor: Tensor, *, is_buffer: bool) -> Tensor | None:
    """Return that, without a dimension; ``None`` for what cannot be otherwise."""
    if not isinstance(tensor, Tensor):
        return None
    local: Tensor = getattr(tensor.detach(), "to_local", tensor.detach)()
    if not local.is_floating_point() or local.numel() == 0:
        return None
    lowest, highest = local.aminmax()  # NaN goes through both; no copy of the weights is made.
    if is_buffer:
        is_bound_off = highest.isposinf() if local.ndim == 0 else False
        return highest.isfinite() | highest.isneginf() | is_bound_off
    return lowest.isfinite() & highest.isfinite()
