"""Warnings about incompatible settings of a head."""

import inspect
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from torch import nn

from tltool._spec import parse_spec
from tltool.layers.norms import find_norm

_file = resources.files(__package__) / "incompatible_settings.toml"
#: What is said of a head, and of surgery, by a name for the case.
MESSAGES: dict[str, dict[str, str]] = tomllib.loads(_file.read_text(encoding="utf-8"))

SATURATING = {"sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign"}
# Kaiming takes the gain of selu, which is 1: it is LeCun's then.
KEEPS_VARIANCE_OF_SELU = {"auto"} | {
    f"{name}{suffix}" for name in ("lecun", "kaiming") for suffix in ("", "_normal", "_uniform")
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
    known = inspect.signature(combination_warnings).parameters
    choices = {name: value for name, value in description["init_args"].items() if name in known}
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
    norm_position: str = "before",
    initializer: str | Mapping[str, Any] = "auto",
    bias: float = 0.0,
    dropout: float = 0.0,
    input_norm: Choice = None,
    batch_per_device: int | None = None,
) -> list[str]:
    """Return the warnings of a head with these arguments. See ``Head`` and ``head_warnings``.

    Example:
        >>> combination_warnings(hidden_features=[256], activation="tanh")
        ['tanh in hidden layers saturates, ... Set `activation: relu`.']
    """
    choices = {"activation": activation, "initializer": initializer}
    choices |= {"norm": norm or "none", "input_norm": input_norm or "none"}
    parsed = {kind: parse_spec(spec, kind=kind) for kind, spec in choices.items()}
    names = {kind: name for kind, (name, _) in parsed.items()}
    entry = find_norm(norm)
    hidden = bool(hidden_features)
    batch_norm = hidden and entry is not None and entry.mixes_samples
    few = batch_per_device is not None and batch_per_device < ENOUGH_SAMPLES
    # What voids the proof that selu normalizes itself (Klambauer et al., 2017,
    # https://arxiv.org/abs/1706.02515).
    selu = hidden and names["activation"] == "selu"
    other_weights = names["initializer"] not in KEEPS_VARIANCE_OF_SELU
    other_weights |= bool(parsed["initializer"][1])
    cancels = hidden and entry is not None and entry.cancels_bias and norm_position == "before"
    holds = {
        "few_samples": few and (batch_norm or names["input_norm"] == "batch"),
        "selu_with_norm": selu and entry is not None,
        "selu_with_other_weights": selu and other_weights,
        "selu_with_other_inputs": selu and names["input_norm"] not in UNIT_VARIANCE,
        "saturating": hidden and names["activation"] in SATURATING,
        "zeros": hidden and names["initializer"] == "zeros",
        "constant": hidden and names["initializer"] == "constant",
        "bias_before_batch_norm": cancels and bias,
        "dropout_before_batch_norm": dropout and len(hidden_features) > 1 and batch_norm,
    }
    words = {**names, "bias": bias, "samples": batch_per_device, "enough": ENOUGH_SAMPLES}
    return [MESSAGES["head"][case].format(**words) for case, does in holds.items() if does]
