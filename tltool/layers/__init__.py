"""Layers by name: activations, normalizations and initializers. Pure torch."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.layers.activation_behavior import saturated_region as saturated_region
    from tltool.layers.activations import ACTIVATIONS as ACTIVATIONS
    from tltool.layers.activations import create_activation as create_activation
    from tltool.layers.gains import activation_gain as activation_gain
    from tltool.layers.initializers import INITIALIZERS as INITIALIZERS
    from tltool.layers.initializers import init_weights_ as init_weights_
    from tltool.layers.input_norms import INPUT_NORMS as INPUT_NORMS
    from tltool.layers.input_norms import create_input_norm as create_input_norm
    from tltool.layers.input_norms import fold_into_linear as fold_into_linear
    from tltool.layers.learned_activations import MaxoutLinear as MaxoutLinear
    from tltool.layers.log_prior import init_log_prior_ as init_log_prior_
    from tltool.layers.norms import NORMS as NORMS
    from tltool.layers.norms import create_norm as create_norm

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ACTIVATIONS": "tltool.layers.activations",
        "INITIALIZERS": "tltool.layers.initializers",
        "INPUT_NORMS": "tltool.layers.input_norms",
        "MaxoutLinear": "tltool.layers.learned_activations",
        "NORMS": "tltool.layers.norms",
        "activation_gain": "tltool.layers.gains",
        "create_activation": "tltool.layers.activations",
        "create_input_norm": "tltool.layers.input_norms",
        "create_norm": "tltool.layers.norms",
        "fold_into_linear": "tltool.layers.input_norms",
        "init_log_prior_": "tltool.layers.log_prior",
        "init_weights_": "tltool.layers.initializers",
        "saturated_region": "tltool.layers.activation_behavior",
    },
)
