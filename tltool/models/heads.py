"""The head: a linear classifier or a multi-layer perceptron on pooled features."""

import inspect
import logging
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn

from tltool._spec import parse_spec
from tltool.layers.activations import create_activation, create_maxout, is_maxout
from tltool.layers.initializers import init_weights_
from tltool.layers.input_norms import create_input_norm
from tltool.layers.norms import create_norm, find_norm
from tltool.models.head_warnings import combination_warnings
from tltool.models.serialization import is_rebuilding, serializable

log = logging.getLogger(__name__)


@serializable
class Head(nn.Module):
    """A linear layer on pooled features, or a multi-layer perceptron.

    Each hidden layer is ``Linear -> norm (optional) -> activation -> dropout``; with
    ``norm_position="after"`` the norm comes behind the activation. The output layer is a plain
    ``Linear``.

    Args:
        num_features: Number of input features, the backbone's ``num_features``.
        num_classes: Number of output classes.
        hidden_features: Width of each hidden layer. Empty for a linear head.
        activation: Name of the activation, or a mapping of a name and its arguments such as
            ``{name: leaky_relu, negative_slope: 0.2}``. ``maxout`` takes the place of the linear
            layer too (see ``MaxoutLinear``).
        norm: Name of the normalization of each hidden layer, a mapping of a name and its arguments,
            or ``None``. A linear layer right in front of batch norm drops its bias, which the
            normalization would cancel (Ioffe & Szegedy, 2015, https://arxiv.org/abs/1502.03167,
            section 3.2); a ``bias`` beside it is warned of.
        norm_position: Whether the norm stands before or after the activation.
        initializer: Name of the initializer of the hidden weights, or a mapping of a name and its
            arguments; ``auto`` is what suits the activation.
        bias: Initial value of the hidden biases; a small positive one, 0.01, keeps relu units alive
            at the start.
        dropout: Probability of zeroing a hidden feature while training, in ``[0, 1)``; without
            hidden layers, an input feature. Beside selu it is alpha dropout, which keeps mean and
            variance (Klambauer et al., 2017, https://arxiv.org/abs/1706.02515).
        input_norm: Name of the normalization of the input features, a mapping of a name and its
            arguments, or ``None``. ``center``, ``standardize`` and ``whiten`` must be fitted, or
            loaded, before the first forward: ``head.input_norm.fit_(features)``.
        output_initializer: Name of the initializer of the output weights, or a mapping.
        output_bias: Initial value of the output biases.

    Shape:
        - Input: ``(B, num_features)``
        - Output: ``(B, num_classes)``, unnormalized logits

    Raises:
        ValueError: If an argument is out of its range, or a name is unknown.
        TypeError: If an argument is of the wrong type.

    Example:
        >>> import torch
        >>> head = Head(512, 10, hidden_features=[256], norm="batch")
        >>> head(torch.randn(4, 512)).shape
        torch.Size([4, 10])
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        hidden_features: Sequence[int] = (),
        activation: str | Mapping[str, Any] = "relu",
        norm: str | Mapping[str, Any] | None = None,
        norm_position: Literal["before", "after"] = "before",
        initializer: str | Mapping[str, Any] = "auto",
        bias: float = 0.0,
        dropout: float = 0.0,
        input_norm: str | Mapping[str, Any] | None = None,
        output_initializer: str | Mapping[str, Any] = "auto",
        output_bias: float = 0.0,
    ) -> None:
        super().__init__()
        for name, size in (("num_features", num_features), ("num_classes", num_classes)):
            whole = isinstance(size, int) and size >= 1
            _check(whole, name, size, "a whole number of at least 1")
        sizes = [0] if isinstance(hidden_features, int) else list(hidden_features)
        whole = all(isinstance(size, int) and size >= 1 for size in sizes)
        needed = "a list of whole numbers of at least 1, [256] for one hidden layer, [] for none"
        _check(whole, "hidden_features", hidden_features, needed)
        is_share = isinstance(dropout, int | float) and 0 <= dropout < 1
        _check(is_share, "dropout", dropout, "a probability in [0, 1)")
        for name, start in (("bias", bias), ("output_bias", output_bias)):
            finite = isinstance(start, int | float) and math.isfinite(start)
            _check(finite, name, start, "a finite number")
        _check(
            norm_position in {"before", "after"}, "norm_position", norm_position, "before or after"
        )
        choices: dict[str, Any]
        choices = {"activation": activation, "norm": norm, "initializer": initializer}
        if not sizes:
            _check_unused(**choices, norm_position=norm_position, bias=bias)
        self.input_norm = create_input_norm(input_norm, num_features)
        widths = [num_features, *sizes]
        how = activation, norm, norm_position, dropout
        self.hidden = nn.Sequential(*(_hidden_layer(*how, *pair) for pair in pairwise(widths)))
        if sizes:
            init_weights_(self.hidden, initializer, activation=activation, bias=bias)
        elif dropout:
            self.hidden.append(nn.Dropout(dropout))
        output = nn.Linear(widths[-1], num_classes)
        self.output = init_weights_(output, output_initializer, bias=output_bias)
        if is_rebuilding():
            return
        choices |= {"hidden_features": sizes, "dropout": dropout, "input_norm": input_norm}
        choices |= {"norm_position": norm_position, "bias": bias}
        for warning in combination_warnings(**choices):
            log.warning(warning)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``(B, num_classes)`` of features ``(B, num_features)``."""
        if self.input_norm is not None:
            features = self.input_norm(features)
        logits: Tensor = self.output(self.hidden(features))
        return logits

    @property
    def first_linear(self) -> nn.Linear:
        """The layer that reads the (normalized) input features."""
        return next(module for module in self.modules() if isinstance(module, nn.Linear))


def _hidden_layer(  # noqa: PLR0917  # its first four are the same for all layers
    activation: str | Mapping[str, Any],
    norm: str | Mapping[str, Any] | None,
    norm_position: Literal["before", "after"],
    dropout: float,
    in_features: int,
    out_features: int,
) -> nn.Sequential:
    """Return linear layer, norm, activation and dropout, by these names."""
    entry = find_norm(norm)
    before = norm_position == "before"
    bias = not (before and entry is not None and entry.cancels_bias)
    layers: dict[str, nn.Module | None] = {}  # In this order.
    if is_maxout(activation):
        norm_of_pieces = partial(create_norm, norm) if before else None
        layers["maxout"] = create_maxout(
            activation, in_features, out_features, bias=bias, create_norm=norm_of_pieces
        )
    else:
        layers["linear"] = nn.Linear(in_features, out_features, bias=bias)
        if before:
            layers["norm"] = create_norm(norm, out_features)
        layers["activation"] = create_activation(activation, num_channels=out_features)
    if not before:
        layers["norm"] = create_norm(norm, out_features)
    if dropout:
        name, _ = parse_spec(activation, kind="activation")
        layers["dropout"] = (nn.AlphaDropout if name == "selu" else nn.Dropout)(dropout)
    return nn.Sequential(
        OrderedDict((key, layer) for key, layer in layers.items() if layer is not None)
    )


def _check(is_valid: bool, name: str, value: object, needed: str) -> None:
    if not is_valid:
        raise ValueError(f"`{name}` must be {needed}, got {value!r}.")


def _check_unused(**arguments: Any) -> None:
    """Refuse arguments of hidden layers, unless at their defaults, where there is no such layer."""
    parameters = inspect.signature(Head).parameters
    for name, value in arguments.items():
        if value != parameters[name].default:
            output = name in {"initializer", "bias"}
            raise ValueError(
                f"`{name}: {value}` is for hidden layers, and `hidden_features` is empty. Set "
                "hidden_features, for example [256]"
                + (f"; that of the output layer is `output_{name}`." if output else ".")
            )
