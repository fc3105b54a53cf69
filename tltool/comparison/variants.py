"""Variants of a head to compare: the product of some axes around one head."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import nn

from tltool._lookup import lookup
from tltool._spec import Spec
from tltool.comparison.optimizers import base_lr
from tltool.layers.norms import BatchNorm
from tltool.models.head_warnings import combination_warnings
from tltool.models.heads import Head
from tltool.models.serialization import rebuild

HEAD_AXES = ("activation", "norm", "initializer", "bias", "input_norm", "dropout")
#: What can be varied.
AXES = (*HEAD_AXES, "depth", "width", "optimizer")
_HIDDEN_ONLY = ("activation", "norm", "norm_position", "initializer", "bias", "width")
_WARNED = ("hidden_features", "input_norm", "dropout", *_HIDDEN_ONLY[:-1])  # width is none


@dataclass(frozen=True)
class Variant:
    """One head to compare, and its optimizer.

    Args:
        head: Arguments of ``Head``, such as ``{"norm": "batch"}``; one hidden layer of 256 where
            ``hidden_features`` is not among them.
        optimizer: A name in ``OPTIMIZERS``, or a mapping of a name and arguments.
        settings: Its value on each axis, for tables and pictures.
        seed_shift: Added to each seed of initialization, batch order and dropout. Equal heads of
            different shifts are replications of one another, which shows what noise alone does.
    """

    head: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Spec = "AdamW"
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed_shift: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", {"hidden_features": [256], **self.head})

    def build(self, num_features: int, num_classes: int) -> nn.Module:
        """Return a new head, its weights drawn from torch's random numbers.

        Raises:
            ValueError: If an argument is out of its range, or a name is unknown.
            TypeError: If an argument is unknown or of the wrong type.
        """
        description = {"class_path": "tltool.models.heads.Head", "init_args": dict(self.head)}
        # What a rebuilt head warns of was said before: it is in the table here.
        return rebuild(description, num_features, num_classes)

    def num_parameters(self, num_features: int, num_classes: int) -> int:
        """Return the number of trained parameters of such a head; nothing random is drawn."""
        with torch.random.fork_rng(devices=[]):
            head = self.build(num_features, num_classes)
        return sum(parameter.numel() for parameter in head.parameters())

    def warnings(self, batch_size: int) -> list[str]:
        """Return a sentence for each combination that defeats itself."""
        chosen = {key: self.head[key] for key in _WARNED if key in self.head}
        return combination_warnings(**chosen, batch_per_device=batch_size)


def cross_axes(
    axes: Mapping[str, Sequence[Any]],
    *,
    head: Mapping[str, Any] | None = None,
    optimizer: Spec = "AdamW",
) -> tuple[dict[str, Variant], str]:
    """Return the product of axes around one head, by name, and the name of the reference.

    The reference is the head given where it is in the product, else the first value of each axis
    that it is not on. A head without hidden layers (depth 0) is there once, whatever its
    activation.

    Args:
        axes: Values by axis, see ``AXES``; ``None`` for a norm is none at all.
        head: Arguments of ``Head`` that all share.
        optimizer: The optimizer of all, unless it is an axis.

    Raises:
        ValueError: If an axis or a value is unknown, a value is there twice, or the head has hidden
            layers that depth or width cannot vary.

    Example:
        >>> variants, reference = cross_axes({"activation": ["relu", "gelu"], "norm": [None]})
        >>> list(variants), reference
        (['relu, no norm', 'gelu, no norm'], 'relu, no norm')
    """
    head = dict(head or {})
    for axis, values in axes.items():
        lookup(dict.fromkeys(AXES), axis, kind="axis of a comparison")
        words = [describe(axis, value) for value in values]
        twice = [word for word in words if words.count(word) > 1]
        if twice or not words:
            what = f"{twice[0]!r} twice" if twice else "no value"
            raise ValueError(f"The axis `{axis}` has {what}. Name each value once.")
    hidden = list(head.get("hidden_features", [256]))
    _check_hidden(axes, hidden)
    shape = {"depth": len(hidden), "width": (hidden or [256])[0]}
    usual = {axis: signature(Head).parameters[axis].default for axis in HEAD_AXES}
    own = {**usual, **head, **shape, "optimizer": optimizer}
    reference = {a: own[a] if own[a] in list(v) else next(iter(v)) for a, v in axes.items()}
    variants: dict[str, Variant] = {}
    reference_name = ""
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        variant = _make_variant(settings, head, own)
        name = ", ".join(describe(axis, value) for axis, value in variant.settings.items())
        variants.setdefault(name or "head", variant)
        if settings == reference:
            reference_name = name or "head"
    return variants, reference_name


def check_variant(variant: Variant, num_features: int, num_classes: int) -> None:
    """Raise for what cannot be built, before anything is computed."""
    base_lr(variant.optimizer)
    head = variant.build(num_features, num_classes)
    for module in head.modules():
        if isinstance(module, BatchNorm) and module.momentum is None:
            raise ValueError(
                "Heads that train together cannot have batch norm with `momentum: null`. Give one, "
                "for example {name: batch, momentum: 0.1}."
            )


def describe(axis: str, value: Any) -> str:
    """Return one value of an axis in a few letters.

    Example:
        >>> describe("width", 64), describe("activation", {"name": "elu", "alpha": 0.5})
        ('width 64', 'elu(alpha=0.5)')
    """
    words = axis.replace("_", " ")
    if value is None:
        return f"no {words}"
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, Mapping):
        arguments = ", ".join(f"{k}={v}" for k, v in value.items() if k != "name")
        text = f"{value.get('name')}({arguments})" if arguments else str(value.get("name"))
    plain = axis in {"activation", "norm", "initializer", "optimizer"}
    return text if plain else f"{words} {text}"


def _check_hidden(axes: Mapping[str, Sequence[Any]], hidden: Sequence[int]) -> None:
    """Raise where depth or width would make other hidden layers than their names say."""
    for depth in axes.get("depth", ()):
        if not isinstance(depth, int) or depth < 0:
            raise ValueError(f"`depth` must be a whole number of at least 0, got {depth}.")
    if "width" in axes and "depth" not in axes and not hidden:
        raise ValueError(
            "The head has no hidden layer, whose `width` could be varied. Set hidden_features, for "
            "example [256], or the axis `depth` too."
        )
    if not {"depth", "width"}.isdisjoint(axes) and len(set(hidden)) > 1:
        raise ValueError(
            f"Hidden layers of several widths, {list(hidden)}, cannot be varied by depth or width. "
            f"Set hidden_features of one width, for example {[hidden[0]] * len(hidden)}."
        )


def _make_variant(
    settings: Mapping[str, Any], head: Mapping[str, Any], own: Mapping[str, Any]
) -> Variant:
    chosen = dict(head) | {axis: settings[axis] for axis in HEAD_AXES if axis in settings}
    full = {**own, **settings}
    if "depth" in settings or "width" in settings:
        chosen["hidden_features"] = [full["width"]] * full["depth"]
    if settings.get("depth") == 0:
        chosen = {k: v for k, v in chosen.items() if k not in _HIDDEN_ONLY}
        settings = {k: v for k, v in settings.items() if k not in _HIDDEN_ONLY}
    return Variant(chosen, full["optimizer"], settings)
