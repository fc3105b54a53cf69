"""Where the channels of what a layer puts out are, and how many, found by one pass of an image."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from tltool._module_state import evaluation_mode

#: Layers that say how many channels they put out, and in which dimensions these may be. Subclasses
#: of the last two may work on channels in front, as timm's ``LayerNorm2d`` does.
LAYERS: dict[type[nn.Module], tuple[str, tuple[int, ...]]] = {
    _ConvNd: ("out_channels", (1,)),
    _NormBase: ("num_features", (1,)),
    nn.GroupNorm: ("num_channels", (1,)),
    nn.Linear: ("out_features", (-1,)),
    nn.LayerNorm: ("normalized_shape", (1, -1)),
    nn.RMSNorm: ("normalized_shape", (1, -1)),
}


class Channels(NamedTuple):
    """The channels of what a module puts out."""

    num: int
    #: 1 or -1.
    dim: int


class FoundChannels(NamedTuple):
    """The channels of what modules put out, and of which modules they are not known, and why."""

    known: dict[nn.Module, Channels]
    unknown: dict[nn.Module, str]


class _Layer(NamedTuple):
    """A layer that has begun to compute."""

    num: int
    dims: tuple[int, ...]
    ndim: int


@torch.no_grad()
def find_channels(
    model: nn.Module,
    modules: Collection[nn.Module],
    example: Tensor | None,
    forward: Callable[[Tensor], object] | None = None,
) -> FoundChannels:
    """Return the channels of what some modules of a model put out.

    They are where the layer puts them that last began to compute: a convolution or batch norm in
    the dimension behind the images, a linear layer in the last one. Where its number of channels
    is not the size of that dimension, as behind a split or a view, the layer before it tells.

    Args:
        model: The model; it is passed one image in evaluation mode.
        modules: Those to tell of.
        example: An image ``(1, C, H, W)`` of the size that the model takes.
        forward: What passes the image; ``None`` for the model itself.

    Raises:
        ValueError: If there is no example.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> find_channels(model, [model[1]], torch.zeros(1, 3, 8, 8)).known[model[1]]
        Channels(num=8, dim=1)
    """
    if example is None:
        raise ValueError(
            "This edit needs to know the number of channels. Pass `example`, an image of the size "
            "that the model takes: example=torch.zeros(1, 3, 224, 224)."
        )
    names = {module: name for name, module in model.named_modules()}
    found: dict[nn.Module, set[Channels | None]] = {module: set() for module in modules}
    begun: list[_Layer] = []
    with ExitStack() as stack, evaluation_mode(model):
        for layer in names:
            for kind, dims in _layer_kinds(layer):
                begin = _begin(begun, kind, dims)
                stack.callback(layer.register_forward_pre_hook(begin).remove)
        for module, channels in found.items():
            hook = module.register_forward_hook(_look(begun, channels))
            stack.callback(hook.remove)
        (forward or model)(example)
    reasons = {module: _why_unknown(channels) for module, channels in found.items()}
    unknown = {module: reason for module, reason in reasons.items() if reason}
    known = {m: each for m, all_ in found.items() if m not in unknown for each in all_ if each}
    return FoundChannels(known, unknown)


def _layer_kinds(layer: nn.Module) -> Iterator[tuple[int, tuple[int, ...]]]:
    channels = getattr(layer, "channels", None)  # Of a module that an edit has put there.
    if isinstance(channels, Channels):
        yield channels.num, (channels.dim,)
        return
    for kind, (attribute, dims) in LAYERS.items():
        if isinstance(layer, kind):
            num: Any = getattr(layer, attribute)
            yield num[-1] if isinstance(num, tuple) else num, dims
            return


def _begin(begun: list[_Layer], num: int, dims: tuple[int, ...]) -> Callable[..., None]:
    def hook(layer: nn.Module, inputs: Sequence[Any]) -> None:
        begun.append(_Layer(num, dims, inputs[0].ndim if inputs else 0))

    return hook


def _look(begun: list[_Layer], channels: set[Channels | None]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        channels.add(_channels_of(output.shape, begun))

    return hook


def _channels_of(shape: torch.Size, begun: Sequence[_Layer]) -> Channels | None:
    """Return the channels of an output behind the layers that have begun, if a layer tells."""
    if len(shape) == 2:
        return Channels(shape[1], 1)
    alike = [layer for layer in begun if layer.ndim == len(shape)]
    for layer in (*reversed(alike), *reversed(begun)):
        dims = [dim for dim in layer.dims if len(shape) > 1 and shape[dim] == layer.num]
        if len(dims) == 1:
            return Channels(layer.num, dims[0])
    return None


def _why_unknown(found: set[Channels | None]) -> str | None:
    """Return why the calls of a module do not tell its channels; ``None`` if they agree."""
    if not found:
        return "it does not run"
    if None in found:
        return "no layer in front of it tells where its channels are"
    return "it has other channels at each call" if len(found) > 1 else None
