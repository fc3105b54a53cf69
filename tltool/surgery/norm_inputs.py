"""Which layer's output a batch norm normalizes, found by running the network once."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from tltool._module_state import evaluation_mode
from tltool.surgery.adapters import LAYERS, LowRankUpdate
from tltool.surgery.calibration import computing_old
from tltool.surgery.matched_norm import MatchedNorm
from tltool.surgery.norm_kinds import ADDED, is_batch_norm, norm_kind, norms_inside_edits

#: Functions that compute ``layer(input, weight, bias)``.
PRODUCTS = {"linear", "conv1d", "conv2d", "conv3d"}
#: Functions that only arrange the same numbers in another way.
MOVES = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "permute", "transpose"),
    *("movedim", "squeeze", "unsqueeze", "contiguous", "clone"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d"),  # in evaluation mode
}


BEHIND_ADAPTER = "behind a layer with an adapter"


class NormInputs(NamedTuple):
    """What is in front of the batch norms of a network."""

    #: The layer that a norm alone is given the output of, and that gives it to this norm alone.
    layer_of: dict[nn.Module, nn.Module]
    #: Why each other batch norm has no such layer.
    reasons: dict[nn.Module, str]
    #: The layers that run.
    layers_run: set[nn.Module]
    #: Those whose output a norm of any kind takes.
    normalized: set[nn.Module]


@torch.no_grad()
def find_norm_inputs(
    model: nn.Module, images: Tensor, forward: Callable[[Tensor], object] | None = None
) -> NormInputs:
    """Return the linear layer or convolution in front of each batch norm, in evaluation mode.

    The output may be arranged in another way in between, as by ``flatten`` and ``permute``, if its
    channels are those of the norm. Whatever else takes it, such as a shortcut past the norm, is
    noticed.

    Args:
        model: Is left as it is.
        images: ``(B, C, H, W)``, one is enough.
        forward: What passes them; ``None`` for the model itself.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
        >>> found = find_norm_inputs(model, torch.zeros(1, 3, 8, 8))
        >>> found.layer_of[model[1]] is model[0], found.reasons[model[2]]
        (True, 'not right behind a linear layer or convolution')
    """
    trace = _Trace(model)
    watched = [m for m in model.modules() if _normalizes(m) or isinstance(m, LAYERS)]
    with evaluation_mode(model), ExitStack() as stack:
        for module in watched:
            stack.callback(module.register_forward_pre_hook(trace.enter).remove)
            stack.callback(module.register_forward_hook(trace.leave).remove)
        stack.enter_context(computing_old(model))
        with trace:
            (forward or model)(images)
    added = norms_inside_edits(model)
    reasons = {
        norm: ADDED if norm in added else trace.why_not(norm)
        for norm in watched
        if is_batch_norm(norm)
    }
    return NormInputs(
        {norm: trace.layer_of[norm] for norm, why in reasons.items() if why is None},
        {norm: why for norm, why in reasons.items() if why},
        {module for module in watched if isinstance(module, LAYERS) and trace.num_runs[module]},
        trace.normalized,
    )


class _Output(NamedTuple):
    """The output of a layer, or an arrangement of it."""

    layer: nn.Module
    #: For each number, of which channel it is.
    channels: Tensor


class _Trace(TorchFunctionMode):
    """Follows the outputs of layers to whatever takes them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._num_holders = Counter(
            id(parameter) for module in model.modules() for parameter in module._parameters.values()
        )
        self._outputs = WeakTensorKeyDictionary()
        self._running: nn.Module | None = None  # a layer or norm
        self._is_in_norm = False
        self.num_runs: Counter[nn.Module] = Counter()
        self._num_uses: Counter[nn.Module] = Counter()
        self._products: Counter[nn.Module] = Counter()  # with the weight and bias of the layer
        self.layer_of: dict[nn.Module, nn.Module] = {}
        self.normalized: set[nn.Module] = set()

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note that a layer or norm begins."""
        self._running = module
        self._is_in_norm = _normalizes(module)
        self.num_runs[module] += 1
        if self._is_in_norm and inputs[0] in self._outputs:
            layer, channels = self._outputs[inputs[0]]
            self._num_uses[layer] += 1
            self.normalized.add(layer)
            if is_batch_norm(module) and _are_channels(channels, cast(int, module.num_features)):
                self.layer_of[module] = layer

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Note that a layer or norm has ended."""
        self._running = None
        self._is_in_norm = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, and note what it takes."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in MOVES:  # Further tensors, as of ``reshape_as``, only give a shape.
            if args[0] in self._outputs:
                layer, channels = self._outputs[args[0]]
                self._outputs[result] = _Output(layer, func(channels, *args[1:], **kwargs))
        elif not self._is_in_norm and _may_compute(result):
            tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
            outputs = [self._outputs[each] for each in tensors if each in self._outputs]
            self._num_uses.update({output.layer for output in outputs})
        if isinstance(self._running, LAYERS) and name in PRODUCTS:
            self._note_product(self._running, result, *args, **kwargs)
        return result

    def _note_product(
        self,
        layer: nn.Module,
        result: Tensor,
        input: Tensor,  # noqa: A002  # the name in torch
        weight: Tensor,
        bias: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> None:
        own = layer._parameters
        self._products[layer] += weight is own.get("weight") and bias is own["bias"]
        dim = -1 if isinstance(layer, nn.Linear) else 1
        numbers = torch.arange(result.shape[dim], device=result.device)
        channels = torch.empty_like(result, dtype=torch.int32)  # The strides are the same.
        channels.movedim(dim, -1).copy_(numbers)
        self._outputs[result] = _Output(layer, channels)

    def why_not(self, norm: nn.Module) -> str | None:
        """Return why no layer can do the work of a norm, if so."""
        layer: Any = self.layer_of.get(norm)
        if layer is None:
            is_idle = not self.num_runs[norm]
            return "not run" if is_idle else "not right behind a linear layer or convolution"
        reasons = {
            "without running statistics": norm.running_mean is None,
            "run several times": self.num_runs[norm] + self.num_runs[layer] > 2,
            "behind a layer whose output something else takes too": self._num_uses[layer] > 1,
            BEHIND_ADAPTER: isinstance(layer, LowRankUpdate),
            f"behind a {type(layer).__name__}, which computes with another weight than its own": (
                not self._products[layer]
            ),
            "behind a layer whose weight another module holds too": (
                self._num_holders[id(layer._parameters.get("weight"))] > 1
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def _normalizes(module: nn.Module) -> bool:
    """Tell whether a module is a norm of any kind, one that another edit has put there too."""
    return norm_kind(module) is not None or isinstance(module, MatchedNorm)


def _may_compute(result: Any) -> bool:
    """Tell whether a result is more than a shape, a type, ...; assignments return none."""
    return result is None or any(isinstance(each, Tensor) for each in tree_leaves(result))


def _are_channels(channels: Tensor, num_features: int) -> bool:
    """Tell whether the second dimension counts the channels."""
    if channels.ndim < 2 or channels.shape[1] != num_features:
        return False
    numbers = torch.arange(num_features, device=channels.device)
    return bool((channels.movedim(1, -1) == numbers).all())
