"""Optimizers of stacked heads, each head with its own learning rate."""

from collections.abc import Callable, Mapping, Sequence
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


def base_lr(spec: Spec) -> float:
    """Return the learning rate that an optimizer's grid lies around.

    Raises:
        ValueError: If the name or an argument is unknown, or the learning rate is not positive.

    Example:
        >>> base_lr("AdamW"), base_lr({"name": "SGD", "lr": 0.1, "momentum": 0.9})
        (0.001, 0.1)
    """
    name, arguments = parse_spec(spec, kind="optimizer")
    entry = lookup(OPTIMIZERS, name, kind="optimizer of a comparison")
    build(entry.factory, name, arguments, [torch.zeros(1, requires_grad=True)])
    lr = float(arguments.get("lr", entry.lr))
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
        name, arguments = parse_spec(spec, kind="optimizer")
        entry = lookup(OPTIMIZERS, name, kind="optimizer of a comparison")
        self.parameters = list(parameters)
        self.lrs = torch.tensor(list(lrs), device=self.parameters[0].device)
        # One dimension is that of the stack.
        decayed: dict[str, Any] = {"params": [p for p in self.parameters if p.ndim > 2]}
        others = {"params": [p for p in self.parameters if p.ndim <= 2], "weight_decay": 0.0}
        groups = [group for group in (decayed, others) if group["params"]]
        options = {**entry.defaults, **arguments, "lr": 1.0}
        self.optimizer = entry.factory(groups, **options)

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
