"""Health of each layer of a network: forward hooks that look at the sampled steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.diagnostics.health.health_statistics import batch_norm_lag_on, unit_dim_of
from tltool.diagnostics.health.unit_window import Reduce, UnitHealth, UnitWindow
from tltool.diagnostics.health.weight_health import WeightWatch
from tltool.layers.activation_behavior import saturation_of
from tltool.layers.learned_activations import MaxoutLinear
from tltool.surgery.activation_kinds import NO_FUNCTIONS_OF_ONE_NUMBER, kind_of

#: Distance of running from batch statistics in standard deviations, and factor between these, from
#: which on they are far.
FAR_SHIFT, FAR_FACTOR = 1.0, 3.0


@dataclass
class LayerHealth:
    """What a layer did in a window. What was not seen is ``None``.

    Attributes:
        layer: Name of its linear layer or convolution.
        activation: Kind of the activation behind it.
        units: What the activation's units did.
        is_two_sided: Whether the activation saturates for large inputs of both signs.
        dead_in_epoch: Share of units that were dead on every training image of an epoch.
        gain: Standard deviation of the outputs over that of the watched layer before.
        one_sign: Share of its inputs that have one sign on all rows of a batch.
        gradient_along_mean: Share of its weight gradient's energy along the mean input.
        update_cosine: Cosine between two successive updates of its weights.
        gradient: Norm of its weights' gradient.
        update: Norm of an update of its weights, as a share of their norm.
        largest_update: The largest of the window.
        signal_to_noise: Of its gradient over the steps of the window.
        is_short: Whether its weights began at zero and had yet to grow, see `WeightWatch`.
    """

    layer: str
    activation: str | None = None
    units: UnitHealth | None = None
    is_two_sided: bool = False
    dead_in_epoch: float | None = None
    gain: float | None = None
    one_sign: float | None = None
    gradient_along_mean: float | None = None
    update_cosine: float | None = None
    gradient: float | None = None
    update: float | None = None
    largest_update: float | None = None
    signal_to_noise: float | None = None
    is_short: bool = False

    @property
    def dead(self) -> float | None:
        """Share of dead units: of all images of an epoch, else of the window's rows."""
        if self.dead_in_epoch is not None:
            return self.dead_in_epoch
        return None if self.units is None else self.units.dead

    @property
    def is_seen(self) -> bool:
        """Whether anything was seen of it."""
        seen = (self.units, self.dead_in_epoch, self.one_sign, self.gradient, self.update)
        return any(value is not None for value in seen)


@dataclass(frozen=True)
class NormHealth:
    """How far the running statistics of a batch norm are from those of its batches.

    Attributes:
        layer: Name of the batch norm.
        shift: See `batch_norm_lag`.
        factor: See `batch_norm_lag`.
    """

    layer: str
    shift: float
    factor: float

    @property
    def size(self) -> float:
        """The larger of the two, in units of what is far."""
        found = max(self.shift / FAR_SHIFT, self.factor / FAR_FACTOR)
        return found if math.isfinite(found) else math.inf


@dataclass
class _Layer:
    """A linear layer or convolution, and the activation behind it."""

    name: str
    weights: WeightWatch
    activation: str | None = None
    units: UnitWindow | None = None
    given: Tensor | None = None  # what its activation overwrites

    def followed_by(self, activation: nn.Module) -> None:
        self.activation = kind_of_units(activation)
        self.units = UnitWindow(saturation_of(activation), unit_dim_of(self.weights.layer))

    @property
    def is_two_sided(self) -> bool:
        if self.units is None:
            return False
        below, above = self.units.saturation  # relu6 is off below 0 as relu is, and not saturated.
        return -math.inf < below < 0 < above < math.inf


class Watch:
    """Looks at the layers of a network.

    A layer is a linear layer or a convolution with the activation that is defined behind it.

    Args:
        network: The network. Hooks are put on its modules until `remove` takes them away.
        name: Of the network, in front of the names of its layers.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        self.layers: list[_Layer] = []
        self.norms: dict[str, tuple[float, float] | None] = {}
        self.is_looking = self._follows = False
        #: Whether live units are noted on every step, not on the sampled ones alone.
        self.notes_live_units = False
        modules = network.named_modules(prefix=name)
        self._hooks = [hook for path, module in modules for hook in self._hook(path, module)]

    def remove(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def begin_step(self, *, is_sampled: bool) -> None:
        """Begin a training step."""
        self._follows = self.is_looking
        self.is_looking = is_sampled
        for layer in self.layers if self.is_looking or self._follows else ():
            layer.weights.before_step()

    def after_backward(self) -> None:
        """Look at the gradients, before the optimizer uses them."""
        for layer in self.layers if self.is_looking else ():
            layer.weights.after_backward()

    def end_step(self) -> None:
        """Look at the updates."""
        for layer in self.layers if self.is_looking or self._follows else ():
            layer.weights.after_step(is_sampled=self.is_looking)

    def close(
        self, reduce: Reduce = lambda tensor: tensor
    ) -> tuple[list[LayerHealth], list[NormHealth]]:
        """Return what was seen since the last time, and begin a new window.

        Args:
            reduce: Sums a tensor over the ranks; all of them must call this.
        """
        found = []
        last_std: float | None = None
        for layer in self.layers:
            seen = layer.weights.close()
            units = layer.units.close(reduce) if layer.units else None
            if units is not None:
                seen["gain"] = units.std / last_std if last_std else None
                last_std = units.std
            seen |= {"units": units, "is_two_sided": layer.is_two_sided}
            found.append(LayerHealth(layer.name, layer.activation, **seen))
        norms = [NormHealth(name, *lag) for name, lag in self.norms.items() if lag]
        self.norms = dict.fromkeys(self.norms)
        return found, norms

    def dead_in_epoch(self, reduce: Reduce = lambda tensor: tensor) -> dict[str, float]:
        """Return the share of dead units of each layer since the last time, and begin anew."""
        found = {it.name: it.units.close_epoch(reduce) for it in self.layers if it.units}
        return {name: share for name, share in found.items() if share is not None}

    def _hook(self, path: str, module: nn.Module) -> Iterator[Any]:
        last = self.layers[-1] if self.layers else None
        if isinstance(module, MaxoutLinear):
            layer = _Layer(path.removesuffix(".maxout"), WeightWatch(module.linear))
            layer.followed_by(module)
            self.layers.append(layer)
            yield module.register_forward_hook(partial(self._see_units, layer))
        elif isinstance(module, nn.Linear | nn.Conv2d):
            if last is None or last.weights.layer is not module:  # Not the one inside maxout.
                last = _Layer(path.removesuffix(".linear"), WeightWatch(module))
                self.layers.append(last)
            yield module.register_forward_pre_hook(partial(self._see_inputs, last))
        elif isinstance(module, _BatchNorm):
            self.norms[path] = None
            yield module.register_forward_pre_hook(partial(self._see_norm, path))
        elif kind_of_units(module) is not None and last is not None and last.activation is None:
            last.followed_by(module)
            if getattr(module, "inplace", False):
                yield module.register_forward_pre_hook(partial(self._keep_inputs, last))
            yield module.register_forward_hook(partial(self._see_units, last))

    def _see_inputs(self, layer: _Layer, module: nn.Module, inputs: Any) -> None:
        if self.is_looking and module.training:
            layer.weights.see_inputs(inputs[0])

    def _keep_inputs(self, layer: _Layer, module: nn.Module, inputs: Any) -> None:
        if module.training and (self.is_looking or self.notes_live_units):
            layer.given = inputs[0].detach().clone()

    def _see_units(self, layer: _Layer, module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        if not module.training or layer.units is None:
            return
        # Maxout has other inputs than units; it is never saturated.
        given = outputs if isinstance(module, MaxoutLinear) else inputs[0]
        given, layer.given = given if layer.given is None else layer.given, None
        if self.is_looking:
            layer.units.add(given, outputs)
        if self.notes_live_units:
            layer.units.note_live(given)

    def _see_norm(self, name: str, module: _BatchNorm, inputs: Any) -> None:
        if self.is_looking and module.training:
            self.norms[name] = batch_norm_lag_on(module, inputs[0]) or self.norms[name]


def kind_of_units(module: nn.Module) -> str | None:
    """Return the kind of an activation whose units are looked at; ``None`` of other modules."""
    if isinstance(module, MaxoutLinear):
        return "maxout"
    kind = kind_of(module)
    return None if kind in NO_FUNCTIONS_OF_ONE_NUMBER else kind
