"""Optimizers of stacked heads, each head with its own learning rate."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from tltool._lookup import lookup
from tltool._spec import Spec, build, parse_spec


class StackableOptimizer(NamedTuple):
    """An optimizer whose step treats each number by itself and is proportional to its lr."""

    factory: Callable[..., Optimizer]
    #: The learning rate that a grid lies around, where none is given.
    lr: float
    defaults: Mapping[str, Any] = {"fused": True}  # a step in one pass over the numbers


#: Optimizers by name. Others look at a whole matrix (Muon, LAMB), or their step is not proportional
#: to the learning rate (ASGD, Rprop, LBFGS): they cannot train a stack.
OPTIMIZERS: dict[str, StackableOptimizer] = {
    "SGD": StackableOptimizer(torch.optim.SGD, 0.03, {"momentum": 0.9, "fused": True}),
    "Adam": StackableOptimizer(torch.optim.Adam, 1e-3),
    "AdamW": StackableOptimizer(torch.optim.AdamW, 1e-3, {"weight_decay": 0.05, "fused": True}),
    "NAdam": StackableOptimizer(torch.optim.NAdam, 1e-3, {}),
    "RAdam": StackableOptimizer(torch.optim.RAdam, 1e-3, {}),
    "Adamax": StackableOptimizer(torch.optim.Adamax, 1e-3, {}),
    "Adagrad": StackableOptimizer(torch.optim.Adagrad, 1e-2, {}),
    "RMSprop": StackableOptimizer(torch.optim.RMSprop, 1e-3, {}),
}


def with_defaults(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an optimizer with those that are usual in a comparison.

    Example:
        >>> with_defaults("SGD", {"nesterov": True})
        {'momentum': 0.9, 'fused': True, 'nesterov': True}
        >>> with_defaults("Adam", {"foreach": True})  # torch takes no fused step beside it
        {'foreach': True}
    """
    defaults = dict(lookup(OPTIMIZERS, name, kind="optimizer of a comparison").defaults)
    if "foreach" in arguments:
        defaults.pop("fused", None)
    return {**defaults, **arguments}


def _build(spec: Spec, parameters: Iterable[Any], **fixed: Any) -> Optimizer:
    name, arguments = parse_spec(spec, kind="optimizer")
    options = with_defaults(name, {**arguments, **fixed})
    try:
        return build(OPTIMIZERS[name].factory, name, options, parameters)
    except RuntimeError as error:  # Of arguments that exclude each other.
        raise ValueError(f"{name} cannot be made of {options}: {error}") from error


def base_lr(spec: Spec) -> float:
    """Return the learning rate that an optimizer's grid lies around.

    Raises:
        ValueError: If the name or an argument is unknown, arguments exclude each other, or the
            learning rate is not positive.

    Example:
        >>> base_lr("AdamW"), base_lr({"name": "SGD", "lr": 0.1, "momentum": 0.9})
        (0.001, 0.1)
    """
    _build(spec, [torch.zeros(1, requires_grad=True)])
    name, arguments = parse_spec(spec, kind="optimizer")
    lr = float(arguments.get("lr", OPTIMIZERS[name].lr))
    if lr <= 0:
        raise ValueError(f"`lr` of {name} must be positive, got {lr}.")
    return lr


class StackedOptimizer:
    """Train stacked parameters, each slice with its own learning rate.

    The optimizer makes a step at a learning rate of 1; each slice goes a share of it, its own lr.
    Biases, norms and learned slopes get no weight decay, as in ``param_groups``.

    Args:
        spec: A name in ``OPTIMIZERS``, or a mapping of a name and arguments of its constructor.
        parameters: Each ``(H, ...)``.
        lrs: Learning rate of each slice.

    Example:
        >>> weight = torch.ones(2, 1, 1, requires_grad=True)
        >>> optimizer = StackedOptimizer("SGD", [weight], [0.1, 0.5])
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> weight.flatten().tolist()
        [0.8999..., 0.5]
    """

    def __init__(self, spec: Spec, parameters: Sequence[Tensor], lrs: Sequence[float]) -> None:
        self.parameters = list(parameters)
        self.lrs = torch.tensor(list(lrs), device=self.parameters[0].device)
        # One dimension is that of the stack.
        decayed: dict[str, Any] = {"params": [p for p in self.parameters if p.ndim > 2]}
        others = {"params": [p for p in self.parameters if p.ndim <= 2], "weight_decay": 0.0}
        groups = [group for group in (decayed, others) if group["params"]]
        self.optimizer = _build(spec, groups, lr=1.0)

    def step(self, factor: float = 1.0) -> None:
        """Make a step.

        Args:
            factor: Of warmup and decay, on each learning rate.
        """
        with torch.no_grad():
            before = [parameter.clone() for parameter in self.parameters]
            self.optimizer.step()
            for parameter, old in zip(self.parameters, before, strict=True):
                lrs = (factor * self.lrs).view(-1, *[1] * (parameter.ndim - 1))
                torch.lerp(old, parameter, lrs.expand_as(parameter), out=parameter)
        self.optimizer.zero_grad()
