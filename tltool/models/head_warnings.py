"""Warnings about incompatible settings of a head."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from tltool._spec import parse_spec
from tltool.layers.norms import find_norm

SATURATING = {"sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign"}
SAME_FOR_ALL_UNITS = {
    "zeros": "relu, or a second layer, passes them no gradient",
    "constant": "they learn nearly the same",
}
KEEPS_VARIANCE_OF_SELU = {  # Kaiming takes the gain of selu, which is 1: it is LeCun's then.
    "auto",
    *("lecun", "lecun_normal", "lecun_uniform"),
    *("kaiming", "kaiming_normal", "kaiming_uniform"),
}
UNIT_VARIANCE = {"standardize", "whiten", "batch"}
ENOUGH_SAMPLES = 16

Choice = str | Mapping[str, Any] | None


def head_warnings(head: nn.Module, *, batch_per_device: int | None = None) -> list[str]:
    """Return a sentence for each combination in a head that defeats itself.

    Each names the reason and the remedy.

    Args:
        head: A ``Head``; of another class nothing is known.
        batch_per_device: Number of samples that each device gets at once; ``None`` if not known.

    Example:
        >>> from tltool.models.heads import Head
        >>> head_warnings(Head(8, 3, input_norm="batch"), batch_per_device=4)
        ['Batch norm with 4 samples per device ... Raise `batch_size` ...']
    """
    description = getattr(head, "description", {})
    if description.get("class_path") != "tltool.models.heads.Head":
        return []  # Another class may mean something else by these names.
    init_args = description["init_args"]
    names = ("hidden_features", "activation", "norm", "initializer", "dropout", "input_norm")
    choices = {name: init_args[name] for name in names}
    return combination_warnings(**choices, batch_per_device=batch_per_device)


def head_batch_warnings(head: nn.Module, *, batch_per_device: int) -> list[str]:
    """Return those of `head_warnings` that only the batch brings: the head's own were said before.

    Args:
        head: A ``Head``, which said its warnings when it was made.
        batch_per_device: Number of samples that each device gets at once.
    """
    said = head_warnings(head)
    warnings = head_warnings(head, batch_per_device=batch_per_device)
    return [warning for warning in warnings if warning not in said]


def combination_warnings(
    *,
    hidden_features: Sequence[int] = (),
    activation: str | Mapping[str, Any] = "relu",
    norm: Choice = None,
    initializer: str | Mapping[str, Any] = "auto",
    dropout: float = 0.0,
    input_norm: Choice = None,
    batch_per_device: int | None = None,
) -> list[str]:
    """Return the warnings of a head with these arguments. See ``Head`` and ``head_warnings``.

    Example:
        >>> combination_warnings(hidden_features=[256], activation="tanh")
        ['tanh in hidden layers saturates, ... Set `activation: relu`.']
    """
    warnings = _few_samples(norm if hidden_features else None, input_norm, batch_per_device)
    if not hidden_features:
        return warnings
    activation_name, _ = parse_spec(activation, kind="activation")
    initializer_name, _ = parse_spec(initializer, kind="initializer")
    if activation_name == "selu":
        warnings += _selu(norm, initializer, input_norm)
    warnings += saturating(activation_name, "Set `activation: relu`.")
    if initializer_name in SAME_FOR_ALL_UNITS:
        warnings.append(
            f"With `initializer: {initializer_name}` all units of a hidden layer start the same, "
            f"and {SAME_FOR_ALL_UNITS[initializer_name]}. Set `initializer: auto`; zeros are for "
            "`output_initializer`."
        )
    if dropout and len(hidden_features) > 1 and _is_batch_norm(norm):
        warnings.append(
            "Dropout in front of batch norm: the variance that the norm learns with dropout is "
            "wrong without it (Li et al., 2018, https://arxiv.org/abs/1801.05134). Set "
            "`dropout: 0`, or `norm: layer`."
        )
    return warnings


def saturating(activation: str, remedy: str) -> list[str]:
    """Return a warning if an activation is none for hidden layers.

    Example:
        >>> saturating("tanh", "Set `activation: relu`.")
        ['tanh in hidden layers saturates, ... next to no gradient. Set `activation: relu`.']
    """
    if activation not in SATURATING:
        return []
    return [
        f"{activation} in hidden layers saturates, and large inputs then get next to no gradient. "
        f"{remedy}"
    ]


def _selu(norm: Choice, initializer: str | Mapping[str, Any], input_norm: Choice) -> list[str]:
    """Return what voids the proof that selu normalizes itself.

    Klambauer et al., 2017, https://arxiv.org/abs/1706.02515.
    """
    warnings = []
    if find_norm(norm) is not None:
        warnings.append(
            f"selu with `norm: {_name(norm)}`: selu normalizes by itself, and a norm undoes that. "
            "Set `norm: null`, or `activation: relu`."
        )
    name, arguments = parse_spec(initializer, kind="initializer")
    if name not in KEEPS_VARIANCE_OF_SELU or arguments:
        warnings.append(
            f"selu with `initializer: {name}`: it normalizes itself only with weights of variance "
            "1 / fan_in. Set `initializer: lecun_normal`."
        )
    if _name(input_norm) not in UNIT_VARIANCE:
        warnings.append(
            "selu without standardized input: it normalizes itself only from inputs of mean 0 and "
            "variance 1, and pooled features have neither. Set `input_norm: standardize`."
        )
    return warnings


def _few_samples(norm: Choice, input_norm: Choice, batch_per_device: int | None) -> list[str]:
    has_batch_norm = _is_batch_norm(norm) or _name(input_norm) == "batch"
    if batch_per_device is None or batch_per_device >= ENOUGH_SAMPLES or not has_batch_norm:
        return []
    return [
        f"Batch norm with {batch_per_device} samples per device estimates mean and variance from "
        "too few (Wu & He, 2018, https://arxiv.org/abs/1803.08494). Raise `batch_size` to at least "
        f"{ENOUGH_SAMPLES} per device, or set `norm: layer` and `input_norm: standardize`."
    ]


def _is_batch_norm(norm: Choice) -> bool:
    entry = find_norm(norm)
    return entry is not None and entry.mixes_samples


def _name(choice: Choice) -> str | None:
    return None if choice is None else parse_spec(choice, kind="norm")[0]
