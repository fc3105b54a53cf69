"""Where the channels of what a layer puts out are, and how many, found by one pass of an image."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from tltool._module_state import evaluation_mode
from tltool.surgery.module_replacement import without_activation

#: Layers that say how many channels they take and put out, and in which dimension these are. That
#: of a subclass of the last two may be 1, as of timm's ``LayerNorm2d``, see `_dim_of`.
LAYERS: dict[type[nn.Module], tuple[str, str, int]] = {
    _ConvNd: ("in_channels", "out_channels", 1),
    _NormBase: ("num_features", "num_features", 1),
    nn.GroupNorm: ("num_channels", "num_channels", 1),
    nn.Linear: ("in_features", "out_features", -1),
    nn.LayerNorm: ("normalized_shape", "normalized_shape", -1),
    nn.RMSNorm: ("normalized_shape", "normalized_shape", -1),
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
    #: Call by call, of those among ``unknown`` whose calls differ only in the number of channels.
    by_call: dict[nn.Module, tuple[Channels, ...]]


class _Layer(NamedTuple):
    """A layer that has begun to compute."""

    num_in: int
    num: int
    dim: int
    #: Of its input.
    shape: torch.Size


@torch.no_grad()
def find_channels(
    model: nn.Module,
    modules: Collection[nn.Module],
    example: Tensor | None,
    forward: Callable[[Tensor], object] | None = None,
) -> FoundChannels:
    """Return the channels of what some modules of a model put out.

    They are where the layer puts them that last began to compute: a convolution or batch norm in
    the dimension behind the images, a linear layer in the last one, a layer norm in the one that it
    works on. Where its number of channels is not the size of that dimension, as behind a split or a
    view, the layer before it tells; and where none does, as behind an attention, the layer that
    takes the output.

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
    seen = _Seen(modules)
    with ExitStack() as stack, evaluation_mode(model):
        for layer in model.modules():
            kind = _layer_kind(layer, example)
            if kind is not None:
                begin = seen.begin(*kind)
                stack.callback(layer.register_forward_pre_hook(begin).remove)
        for module in modules:
            stack.callback(module.register_forward_hook(seen.look).remove)
        (forward or model)(example)
    unknown = {module: why for module, found in seen.calls.items() if (why := _why_unknown(found))}
    calls = {module: [c for c in found if c] for module, found in seen.calls.items()}
    return FoundChannels(
        known={module: found[0] for module, found in calls.items() if module not in unknown},
        unknown=unknown,
        by_call={m: tuple(calls[m]) for m, why in unknown.items() if why == _OTHER_NUMBERS},
    )


def _layer_kind(layer: nn.Module, example: Tensor) -> tuple[int, int, int] | None:
    """Return how many channels a layer takes and puts out, and in which dimension these are."""
    channels = getattr(layer, "channels", None)  # Of a module that an edit has put there.
    if isinstance(channels, Channels):
        return channels.num, channels.num, channels.dim
    for kind, (*attributes, dim) in LAYERS.items():
        if isinstance(layer, kind):
            nums: list[Any] = [getattr(layer, str(name)) for name in attributes]
            num_in, num = (num[-1] if isinstance(num, tuple) else num for num in nums)
            is_norm = isinstance(layer, nn.LayerNorm | nn.RMSNorm)
            return num_in, num, _dim_of(layer, num, example) if is_norm else int(dim)
    return None


def _dim_of(norm: nn.Module, num: int, example: Tensor) -> int:
    """Return in which dimension a layer norm has its channels: 1 if it takes them there.

    Neither its class tells, as timm's ``LayerNorm`` has an own ``forward`` too, nor the shape of
    its inputs, which may be as high or wide as they have channels.
    """
    size = 2 if num == 1 else 1
    try:
        without_activation(norm).forward(example.new_zeros(1, num, size, size))
    except RuntimeError:  # torch refuses another number than ``normalized_shape``.
        return -1
    return 1


class _Seen:
    """What a pass shows of the channels of modules."""

    def __init__(self, modules: Collection[nn.Module]) -> None:
        self.calls: dict[nn.Module, list[Channels | None]] = {module: [] for module in modules}
        self._begun: list[_Layer] = []
        self._open: list[tuple[nn.Module, int, torch.Size]] = []  # what no layer has told yet

    def begin(self, num_in: int, num: int, dim: int) -> Callable[..., None]:
        """Return a hook that notes that a layer begins."""

        def hook(layer: nn.Module, inputs: Sequence[Any]) -> None:
            shape = inputs[0].shape if inputs else torch.Size()
            self._begun.append(_Layer(num_in, num, dim, shape))
            self._tell(self._begun[-1])

        return hook

    def look(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        """Note an output of a module."""
        calls = self.calls[module]
        calls.append(_channels_of(output.shape, self._begun))
        if calls[-1] is None:
            self._open.append((module, len(calls) - 1, output.shape))

    def _tell(self, layer: _Layer) -> None:
        """Let a layer tell of the outputs that it may take."""
        for each in [*self._open]:
            module, number, shape = each
            if shape == layer.shape and len(shape) > 1 and shape[layer.dim] == layer.num_in:
                self.calls[module][number] = Channels(layer.num_in, layer.dim)
                self._open.remove(each)


def _channels_of(shape: torch.Size, begun: Sequence[_Layer]) -> Channels | None:
    """Return the channels of an output behind the layers that have begun, if a layer tells."""
    if len(shape) == 2:
        return Channels(shape[1], 1)
    alike = [layer for layer in begun if len(layer.shape) == len(shape)]
    for layer in (*reversed(alike), *reversed(begun)):
        if len(shape) > 1 and shape[layer.dim] == layer.num:
            return Channels(layer.num, layer.dim)
    return None


_OTHER_NUMBERS = "it has other channels at each call"


def _why_unknown(calls: Sequence[Channels | None]) -> str | None:
    """Return why the calls of a module do not tell its channels; ``None`` if they agree."""
    if not calls:
        return "it does not run"
    if None in calls:
        return "no layer around it tells where its channels are"
    if len({channels.dim for channels in calls if channels}) > 1:
        return "its channels are in another place at each call"
    return _OTHER_NUMBERS if len({*calls}) > 1 else None
