"""Layers by name: activations, normalizations and initializers. Pure torch."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.layers.activations import ACTIVATIONS as ACTIVATIONS
    from tltool.layers.activations import create_activation as create_activation
    from tltool.layers.gains import activation_gain as activation_gain
    from tltool.layers.initializers import INITIALIZERS as INITIALIZERS
    from tltool.layers.initializers import init_weights_ as init_weights_
    from tltool.layers.learned_activations import MaxoutLinear as MaxoutLinear
    from tltool.layers.norms import NORMS as NORMS
    from tltool.layers.norms import create_norm as create_norm

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ACTIVATIONS": "tltool.layers.activations",
        "INITIALIZERS": "tltool.layers.initializers",
        "MaxoutLinear": "tltool.layers.learned_activations",
        "NORMS": "tltool.layers.norms",
        "activation_gain": "tltool.layers.gains",
        "create_activation": "tltool.layers.activations",
        "create_norm": "tltool.layers.norms",
        "init_weights_": "tltool.layers.initializers",
    },
)
