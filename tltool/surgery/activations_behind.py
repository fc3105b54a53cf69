"""Which activation stands behind each layer with weights, for the gain of its initializer."""

import inspect

from torch import nn

from tltool._spec import Spec
from tltool.layers.activations import ACTIVATIONS
from tltool.layers.initializers import WEIGHTED
from tltool.surgery.activation_inventory import find_activations
from tltool.surgery.activation_kinds import kind_of
from tltool.surgery.activation_replacement import plain_activation

#: Attributes of activations that are arguments of theirs as well.
_SETTINGS = {"negative_slope", "alpha", "beta", "threshold", "min_val", "max_val"}


def activations_behind(model: nn.Module) -> dict[nn.Module, Spec]:
    """Return what stands behind each linear layer and convolution, ``identity`` for no activation.

    It is the next one in the order of definition, if no other layer with weights lies in between:
    norms and dropout do not count, and a gate ends the search. The second layer of a block, whose
    output is added to a residual, so has none.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.ELU(), nn.Linear(2, 2))
        >>> list(activations_behind(model).values())
        [{'name': 'elu', 'alpha': 1.0}, 'identity']
    """
    found = {each.module: each for each in find_activations(model) if each.module is not None}
    behind: dict[nn.Module, Spec] = {}
    waiting: nn.Module | None = None
    for _, module in model.named_modules(remove_duplicate=False):  # Shared ones at each place.
        if isinstance(module, WEIGHTED):
            behind.setdefault(module, "identity")
            waiting = module
        elif module in found and waiting is not None:
            if found[module].why_kept is None and behind[waiting] == "identity":
                behind[waiting] = _spec_of(module)
            waiting = None
    return behind


def _spec_of(activation: nn.Module) -> Spec:
    """Return an activation as a specification, as near to it as there is one."""
    activation = plain_activation(activation)
    kind = kind_of(activation)
    if isinstance(activation, nn.PReLU):
        return {"name": "leaky_relu", "negative_slope": float(activation.weight.detach().mean())}
    if kind not in ACTIVATIONS:
        return "relu"  # Others are relatives of it.
    known = inspect.signature(ACTIVATIONS[kind].factory).parameters.keys() & _SETTINGS
    constants = known & {*getattr(activation, "__constants__", ())}
    return {"name": kind, **{name: getattr(activation, name) for name in sorted(constants)}}
