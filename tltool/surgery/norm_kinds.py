"""Which modules are normalization layers, of which kind, and what else they hold."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.matched_norm import FixedAffine, MatchedNorm
from tltool.surgery.module_replacement import Place, matches, shortened, walk

#: The kinds by name, as in a configuration. timm's are subclasses.
KINDS: dict[str, type[nn.Module]] = {
    "batch": _BatchNorm,
    "group": nn.GroupNorm,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}


def norm_kind(module: nn.Module) -> str | None:
    """Return the kind of a norm layer, a name in ``KINDS``; ``None`` for other modules.

    Example:
        >>> norm_kind(nn.BatchNorm2d(4)), norm_kind(nn.Linear(2, 2))
        ('batch', None)
    """
    return next((name for name, cls in KINDS.items() if isinstance(module, cls)), None)


def is_batch_norm(module: object) -> bool:
    """Tell whether a module normalizes by statistics of a batch, timm's with an activation too."""
    return isinstance(module, _BatchNorm)


def batch_norms(model: nn.Module) -> list[Place]:
    """Return the batch norms below a model, in the order of definition."""
    return [place for place in walk(model) if is_batch_norm(place.module)]


def check_replaced(model: nn.Module, places: Sequence[Place], only: str | Sequence[str]) -> None:
    """Refuse a choice of nothing but norms that an edit in front has replaced.

    Args:
        model: What holds them.
        places: Of the norms that it still has.
        only: Patterns of the chosen ones.

    Raises:
        ValueError: If no norm is chosen, and some that were replaced are.
    """
    patterns = (only,) if isinstance(only, str) else only
    replaced = [
        name
        for place in walk(model)
        if isinstance(place.module, MatchedNorm | FixedAffine)
        for name in (place.names[0].removesuffix(".norm"),)
        if matches((name, *place.names), patterns)
    ]
    if replaced and not any(matches(place.names, patterns) for place in places):
        raise ValueError(
            f"An edit in front has replaced or removed these norms already: "
            f"{shortened(replaced, 3)}. Leave one of both edits out, or choose other norms by "
            "`only`."
        )


ADDED = "added by `add_norms`"
"""Why such a norm stays: another edit could be made only once it has taken its statistics from
images, which a checkpoint is rebuilt without."""


def norms_inside_edits(model: nn.Module) -> set[nn.Module]:
    """Return the norms inside modules that take their values from images, those of `add_norms`."""
    outer = [module for module in model.modules() if isinstance(module, Calibrated)]
    return {inner for each in outer for inner in each.children() if norm_kind(inner)}


def mark_folded_(layer: Any) -> None:
    """Mark a layer whose weights do the work of a batch norm, too, from now on."""
    layer.holds_norm = True


def holds_norm(layer: nn.Module) -> bool:
    """Tell whether a batch norm is part of a layer's weights, as `mark_folded_` said."""
    return hasattr(layer, "holds_norm")


def check_statistics(places: Iterable[Place]) -> None:
    """Refuse norms that have yet to take their statistics from images.

    Raises:
        ValueError: If there is one.
    """
    names = [place.names[0] for place in places if isinstance(place.module, Calibrated)]
    if names:
        raise ValueError(
            f"{shortened(names, 3)}: `reestimate_statistics` gives these norms new statistics once "
            "images come, and this edit would take them away. Leave one of both edits out."
        )


def behind_norm(place: Place) -> nn.Module:
    """Return what a norm layer does beside normalizing, under the names that it has there.

    timm's ``BatchNormAct2d`` and its likes hold the activation behind them, and a dropout.

    Example:
        >>> behind_norm(*walk(nn.Sequential(nn.BatchNorm2d(4))))
        Identity()
    """
    children = OrderedDict(place.module.named_children())
    return nn.Sequential(children) if children else nn.Identity()


def with_norm(place: Place, norm: nn.Module) -> nn.Module:
    """Return another norm, and behind it what the one at a place does beside normalizing."""
    children = OrderedDict(place.module.named_children())
    return nn.Sequential(OrderedDict(norm=norm, **children)) if children else norm
