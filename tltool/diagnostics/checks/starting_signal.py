"""Signal through the depth of a head before training, with its initializer and with others."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tltool._module_state import disable_dropout_
from tltool._spec import parse_spec
from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.diagnostics.health.alarms import find_alarms
from tltool.diagnostics.health.health_watch import LayerHealth, Watch, kind_of_units
from tltool.layers.initializers import init_weights_

#: What an initializer is shown beside.
NEIGHBORS = ("kaiming_normal", "xavier_normal", "lecun_normal", "normal")
#: Standard deviation of the last hidden layer relative to the first.
SHRINKS, GROWS = 0.1, 10.0
#: Outputs of a layer that are kept for a histogram.
MOST_VALUES = 20_000

CHECK = Check("activations")


@dataclass(frozen=True)
class StartingSignal:
    """What a head does with features before training.

    Attributes:
        initializer: Of its hidden layers.
        layers: Each hidden layer, from the input on.
        logits: Standard deviation of a logit from image to image, the mean over the classes.
        values: Some outputs of each hidden layer by name, for a histogram.
    """

    initializer: str
    layers: list[LayerHealth]
    logits: float
    values: dict[str, Tensor]

    @property
    def stds(self) -> list[float]:
        """The standard deviation of the outputs of each hidden layer."""
        return [layer.units.std for layer in self.layers if layer.units is not None]


def starting_signals(head: nn.Module, features: Tensor) -> list[StartingSignal]:
    """Pass features through a head and through copies with other initializers.

    Args:
        head: A serializable head, such as ``Head``; it is left as it is. What an input norm is
            fitted to stays.
        features: ``(N, num_features)``.

    Returns:
        The head itself first; alone where it has no hidden layers.

    Example:
        >>> from tltool.models.heads import Head
        >>> signals = starting_signals(Head(32, 3, hidden_features=[64]), torch.randn(99, 32))
        >>> [signal.initializer for signal in signals]
        ['auto', 'kaiming_normal', 'xavier_normal', 'lecun_normal', 'normal']
    """
    arguments: dict[str, Any] = getattr(head, "description", {}).get("init_args", {})
    chosen, _ = parse_spec(arguments.get("initializer", "auto"), kind="initializer")
    signals = [_signal(copy.deepcopy(head), chosen, features)]
    neighbors = [name for name in NEIGHBORS if name != chosen] if signals[0].stds else []
    own = {"activation": arguments.get("activation", "relu"), "bias": arguments.get("bias", 0.0)}
    with torch.random.fork_rng():
        for name in neighbors:
            other = copy.deepcopy(head)
            init_weights_(other.get_submodule("hidden"), name, **own)
            signals.append(_signal(other, name, features))
    return signals


def starting_signal_is_sound(signals: Sequence[StartingSignal]) -> CheckResult:
    """Say whether the signal of a head, the first of these, is alive through its depth."""
    signal = signals[0]
    if not signal.stds:
        return CHECK.ok(f"no hidden layers; logits spread by {signal.logits:.2g}")
    words = ", ".join(f"{std:.2g}" for std in signal.stds)
    seen = f"standard deviations by depth {words}, logits {signal.logits:.2g}"
    alarms = find_alarms(signal.layers)
    if alarms:
        message, _, remedy = str(alarms[0]).partition(". ")
        return CHECK.problem("alarm", alarm=message, seen=seen, remedy=remedy)
    change = signal.stds[-1] / signal.stds[0]
    if not SHRINKS < change < GROWS:
        return CHECK.problem("uneven", verb="shrinks" if change < 1 else "grows", seen=seen)
    return CHECK.ok(seen)


@torch.no_grad()
def _signal(head: nn.Module, initializer: str, features: Tensor) -> StartingSignal:
    disable_dropout_(head.train())  # As in the first step: batch norm by the batch.
    values: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        values[name] = outputs.detach().flatten()[:MOST_VALUES].cpu()

    for name, module in head.named_modules():
        if kind_of_units(module) is not None:
            module.register_forward_hook(partial(keep, f"head.{name}"))
    watch = Watch(head, "head")
    watch.begin_step(is_sampled=True)
    logits: Tensor = head(features)
    layers, _ = watch.close()
    hidden = [layer for layer in layers if layer.units is not None]
    return StartingSignal(initializer, hidden, float(logits.std(dim=0).mean()), values)
