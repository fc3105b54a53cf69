"""Specifications of layers in YAML: a name, or a mapping of a name and its arguments."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from tltool._lookup import lookup

T = TypeVar("T")

#: ``gelu``, or ``{name: leaky_relu, negative_slope: 0.2}``.
Spec = str | Mapping[str, Any]

# Parameters of torch's constructors that no configuration sets: where a module lies is the
# trainer's matter, and the last two are deprecated names of nn.Hardtanh.
NOT_CONFIGURABLE = {"device", "dtype", "min_value", "max_value"}
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}
FORWARDED = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def parse_spec(spec: Spec, kind: str) -> tuple[str, dict[str, Any]]:
    """Split a specification into its name and its arguments.

    Raises:
        TypeError: If it is neither a name nor a mapping.
        ValueError: If the mapping has no ``name``.

    Example:
        >>> parse_spec({"name": "leaky_relu", "negative_slope": 0.2}, "activation")
        ('leaky_relu', {'negative_slope': 0.2})
    """
    if isinstance(spec, str):
        return spec, {}
    is_mapping = isinstance(spec, Mapping)
    arguments = {str(key): value for key, value in spec.items()} if is_mapping else {}
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        kind_of_error = ValueError if is_mapping else TypeError
        raise kind_of_error(
            f"`{kind}` must be a name, or a mapping of a `name` and its arguments such as "
            f"{{name: leaky_relu, negative_slope: 0.2}}; got {spec!r}, a {type(spec).__name__}."
        )
    return name, arguments


def build(
    factory: Callable[..., T], name: str, arguments: Mapping[str, Any], *injected: object
) -> T:
    """Return ``factory(*injected, **arguments)`` after a check against the factory's signature.

    Args:
        factory: A class or a function whose signature is its schema.
        name: The name that stands for the factory in a table; for the messages.
        arguments: What the user wrote.
        *injected: Leading positional arguments that the caller knows, such as a layer's width.

    Raises:
        ValueError: If an argument is unknown, missing or not finite.
        TypeError: If an argument is of another type than the annotation in the signature.

    Example:
        >>> from torch import nn
        >>> build(nn.LeakyReLU, "leaky_relu", {"negative_slope": 0.2})
        LeakyReLU(negative_slope=0.2)
    """
    parameters = configurable_parameters(factory, num_injected=len(injected))
    for key, value in arguments.items():
        if not parameters:
            raise ValueError(f"{name} takes no arguments, got {key!r}. Write just `{name}`.")
        _check_type(name, lookup(parameters, key, kind=f"{name} argument"), value)
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in arguments:
            raise ValueError(f"{name} needs `{key}`: write {{name: {name}, {key}: ...}}.")
    return factory(*injected, **arguments)


def configurable_parameters(
    factory: Callable[..., object], num_injected: int = 0
) -> dict[str, inspect.Parameter]:
    """Return the parameters of ``factory`` that a user may set, by name.

    Example:
        >>> from torch import nn
        >>> list(configurable_parameters(nn.ELU))
        ['alpha', 'inplace']
    """
    named = list(inspect.signature(factory).parameters.items())[num_injected:]
    return {
        name: parameter
        for name, parameter in named
        if name not in NOT_CONFIGURABLE and parameter.kind not in FORWARDED
    }


def _check_type(name: str, parameter: inspect.Parameter, value: object) -> None:
    """Compare a value with its annotation: YAML may read ``1e-2`` as text, and torch take it."""
    options = get_args(parameter.annotation) or (parameter.annotation,)
    if get_origin(parameter.annotation) is Literal:
        lookup(dict.fromkeys(options), str(value), kind=f"{name} {parameter.name}")
        return
    allowed = tuple(option for option in options if option in WORDS)
    if not allowed:
        return
    is_bool_for_number = isinstance(value, bool) and bool not in allowed
    is_whole_number = float in allowed and isinstance(value, int)
    if (isinstance(value, allowed) or is_whole_number) and not is_bool_for_number:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"`{parameter.name}` of {name} must be a finite number, got {value}. "
                "Choose another value."
            )
        return
    raise TypeError(
        f"`{parameter.name}` of {name} must be {' or '.join(WORDS[option] for option in allowed)}; "
        f"got {value!r}, a {type(value).__name__}."
    )
