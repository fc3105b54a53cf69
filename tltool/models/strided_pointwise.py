"""1x1 convolutions with a stride, whose backward pass crashes on the CPU in channels_last."""

from torch import Tensor, nn
from torch.nn import functional

#: The numbers of input channels with which it does: less than a register of AVX-512 holds.
_UNSAFE_CHANNELS = range(2, 16)


class StridedPointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution that, on the CPU, drops the pixels between its strides first.

    With a stride and few input channels, the backward pass of torch writes beside its memory in the
    channels_last format, and the process ends by a signal. Without the stride it does not, and what
    is computed is the same. A convolution becomes one by `replace_strided_pointwise_`.

    Shape:
        - Input: ``(B, C, H, W)``
        - Output: ``(B, out_channels, H', W')``
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # torch's name
        if input.device.type != "cpu":
            output: Tensor = super()._conv_forward(input, weight, bias)
            return output
        rows, columns = self.stride
        return functional.conv2d(input[..., ::rows, ::columns], weight, bias)


def replace_strided_pointwise_(model: nn.Module) -> list[str]:
    """Make 1x1 convolutions with a stride and few input channels safe on the CPU, in place.

    Keys and values of the state dict stay.

    Returns:
        The dotted names of those that there are.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.Conv2d(8, 8, 1))
        >>> replace_strided_pointwise_(model), type(model[0]).__name__
        (['0'], 'StridedPointwiseConv2d')
    """
    found = [name for name, module in model.named_modules() if _is_unsafe(module)]
    for name in found:
        # The same object: another part of the model may hold it too.
        model.get_submodule(name).__class__ = StridedPointwiseConv2d
    return found


def _is_unsafe(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.padding in ((0, 0), "valid")
        and module.groups == 1
        and module.in_channels in _UNSAFE_CHANNELS
    )
