"""Edits as plain data, as they are written in YAML and kept in a checkpoint."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from tltool._lookup import lookup
from tltool.surgery.activation_swap import swap_activations
from tltool.surgery.activation_swap_report import ActivationSwap
from tltool.surgery.adapters import AddedLoRA, add_lora
from tltool.surgery.added_norms import AddedNorms, add_norms
from tltool.surgery.norm_folding import FoldedNorms, fold_norms
from tltool.surgery.norm_replacement import remove_norms, replace_norms
from tltool.surgery.norm_replacement_report import ReplacedNorms
from tltool.surgery.norm_statistics import ReestimatedStatistics, reestimate_statistics
from tltool.surgery.reinitialization import LayerGroups, Reinitialization, reinitialize

EditReport = (
    ActivationSwap
    | AddedLoRA
    | FoldedNorms
    | ReplacedNorms
    | AddedNorms
    | ReestimatedStatistics
    | Reinitialization
)

#: Each edit by its name: a function of the model, which returns a report.
EDITS: dict[str, Callable[..., EditReport]] = {
    "swap_activations": swap_activations,
    "add_lora": add_lora,
    "fold_norms": fold_norms,
    "remove_norms": remove_norms,
    "replace_norms": replace_norms,
    "add_norms": add_norms,
    "reinitialize": reinitialize,
    "reestimate_statistics": reestimate_statistics,
}


#: Arguments of an edit that the caller gives it, and no configuration.
GIVEN = ("example", "forward", "layer_groups", "new_model")


def apply_surgery_(
    model: nn.Module,
    edits: Sequence[str | Mapping[str, Any]],
    *,
    example: Tensor | None = None,
    forward: Callable[[Tensor], object] | None = None,
    layer_groups: Callable[[], LayerGroups] | None = None,
    new_model: Callable[[], nn.Module] | None = None,
) -> list[EditReport]:
    """Edit a model in place, one edit after the other.

    All edits are checked by name and arguments before the first one is made.

    Args:
        model: Is changed.
        edits: Each a mapping of one name in ``EDITS`` to its arguments, or to its first argument
            where nothing else is said; the name alone where there is nothing to say.
        example: An image ``(1, C, H, W)`` of the size that the model takes, for edits that must
            know the number of channels.
        forward: What passes it; ``None`` for the model itself.
        layer_groups: Returns parameter names by layer group, for `reinitialize`.
        new_model: Makes such a model without edits and pretrained weights, for `reinitialize`.

    Returns:
        The report of each edit.

    Raises:
        ValueError: If an edit or an argument is unknown or missing, or an edit refuses.
        TypeError: If ``edits`` is no list of mappings, or an argument is of another type than the
            edit takes.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
        >>> edits = [{"swap_activations": {"to": "gelu", "only": "1"}}, {"swap_activations": "elu"}]
        >>> for report in apply_surgery_(model, edits):
        ...     print(report)
        Swapped 1 of 2 activations (relu) for gelu; kept 1 not selected.
        Swapped 2 of 2 activations (gelu, relu) for elu.
    """
    if isinstance(edits, str | Mapping) or not isinstance(edits, Sequence):
        raise TypeError(
            "`surgery` must be a list of edits such as [{swap_activations: gelu}]; got "
            f"{edits!r}, a {type(edits).__name__}."
        )
    checked = [_check(edit) for edit in edits]
    given = {
        "example": example,
        "forward": forward,
        "layer_groups": layer_groups,
        "new_model": new_model,
    }
    return [
        function(model, **arguments, **{name: given[name] for name in _given_to(function)})
        for function, arguments in checked
    ]


def _check(edit: str | Mapping[str, Any]) -> tuple[Callable[..., EditReport], dict[str, Any]]:
    """Return the function that an edit names, and its arguments."""
    if isinstance(edit, str) and not _needed(_parameters(lookup(EDITS, edit, kind="edit"))):
        edit = {edit: {}}
    if not isinstance(edit, Mapping) or len(edit) != 1:
        raise TypeError(
            "Each edit in `surgery` must be a mapping of one name to its arguments, such as "
            f"{{swap_activations: {{to: gelu}}}}; got {edit!r}. Names: {', '.join(EDITS)}."
        )
    ((name, arguments),) = edit.items()
    function = lookup(EDITS, str(name), kind="edit")
    parameters = _parameters(function)
    if arguments is None:  # As YAML reads `- fold_norms:`.
        arguments = {}
    if not isinstance(arguments, Mapping):
        arguments = {next(iter(parameters)): arguments}
    for key in arguments:
        lookup(parameters, str(key), kind=f"{name} argument")
    hints = get_type_hints(function)
    for key, value in arguments.items():
        if not _fits(value, hints[key]):
            raise TypeError(
                f"`{key}` of {name} takes {_in_words(hints[key])}; got {value!r}, a "
                f"{type(value).__name__}."
            )
    for key in _needed(parameters):
        if key not in arguments:
            raise ValueError(f"{name} needs `{key}`: write {{{name}: {{{key}: ...}}}}.")
    return function, dict(arguments)


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether an argument is of an annotated type; what text may say is up to the edit."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str)
    if origin is Sequence:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(_fits(each, inner[0]) for each in value)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else origin or hint)


_WORDS = {int: "a whole number", float: "a number", str: "text", type(None): "null"}


def _in_words(hint: Any) -> str:
    """Return what an argument takes.

    Example:
        >>> _in_words(int | Sequence[str] | None)
        'a whole number, a list of text or null'
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        *words, last = (_in_words(each) for each in inner)
        return f"{', '.join(words)} or {last}"
    if origin is Literal:
        return " or ".join(inner)
    if origin is Sequence:
        return f"a list of {_in_words(inner[0])}"
    return _WORDS.get(hint, "a mapping")


def _parameters(function: Callable[..., EditReport]) -> dict[str, inspect.Parameter]:
    """Return what an edit can be told in a configuration."""
    signature = list(inspect.signature(function).parameters.items())[1:]  # the model first
    return {key: parameter for key, parameter in signature if key not in GIVEN}


def _needed(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    return [key for key, each in parameters.items() if each.default is each.empty]


def _given_to(function: Callable[..., EditReport]) -> list[str]:
    parameters = inspect.signature(function).parameters
    return [name for name in GIVEN if name in parameters]
