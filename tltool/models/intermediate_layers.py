"""Where a timm model can stop early: the names of its intermediate outputs."""

from typing import Any, cast

from torch import nn

from tltool._lookup import lookup


def stop_names(model: nn.Module) -> list[str]:
    """Return the names of a model's intermediate outputs, from the input on; none for some."""
    info: Any = getattr(model, "feature_info", None)
    if not info or not hasattr(model, "prune_intermediate_layers"):
        return []
    return [str(entry["module"]) for entry in info]


def find_stop(model: nn.Module, stop_at: str, name: str) -> int:
    """Return the index of an intermediate output, as timm's ``forward_intermediates`` counts.

    Raises:
        ValueError: If the model has no such output; the message names those that it has.
    """
    stops = stop_names(model)
    if not stops:
        raise ValueError(f"{name} cannot stop at an earlier layer. Leave `stop_at` out.")
    lookup(dict.fromkeys(stops), stop_at, kind=f"`stop_at` of {name}")
    return stops.index(stop_at)


def drop_behind_(model: nn.Module, index: int) -> str:
    """Remove the layers behind an intermediate output, and return how many parameters they had."""
    before = sum(parameter.numel() for parameter in model.parameters())
    cast(Any, model).prune_intermediate_layers([index], prune_norm=True, prune_head=True)
    after = sum(parameter.numel() for parameter in model.parameters())
    return f"{before - after:,} of its {before:,} parameters"
