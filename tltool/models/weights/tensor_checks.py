"""Checks of tensors that would load without an error and give wrong outputs."""

from collections.abc import Mapping

from torch import Tensor


def check_tensors(
    state_dict: Mapping[str, Tensor], model: Mapping[str, Tensor], weights: str
) -> None:
    """Refuse quantized weights, which are copied as if they were values, and tensors without data.

    Args:
        state_dict: What was read.
        model: The model's own state dict.
        weights: Where it was read from, for the message.

    Raises:
        ValueError: Naming the first such tensor.

    Example:
        >>> import torch
        >>> model = {"conv.weight": torch.zeros(2)}
        >>> check_tensors({"conv.weight": torch.ones(2, dtype=torch.int8)}, model, "small.pth")
        Traceback (most recent call last):
        ...
        ValueError: The weights 'small.pth' are quantized: conv.weight is torch.int8. ...
    """
    for name, value in state_dict.items():
        if value.is_meta:
            raise ValueError(
                f"The weights {weights!r} hold no values: {name} was saved from the meta device. "
                "Save them from a model that is in memory."
            )
        is_float = name not in model or model[name].is_floating_point()
        if is_float and _is_quantized(value, name in model):
            raise ValueError(
                f"The weights {weights!r} are quantized: {name} is {value.dtype}. Set `weights` to "
                "those before quantization, in float32, float16 or bfloat16."
            )


def _is_quantized(value: Tensor, is_weight: bool) -> bool:
    has_small_floats = value.is_floating_point() and value.dtype.itemsize < 2
    return value.is_quantized or (is_weight and not value.is_floating_point()) or has_small_floats
