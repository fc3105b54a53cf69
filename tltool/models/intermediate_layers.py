"""Where a timm model can stop early: the names of its intermediate outputs."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from tltool._lookup import lookup
from tltool.models.timm_models import output_on_meta
from tltool.surgery.functional_activations import ENTRY

#: Models that read the grid of their patches off values, which images on the meta device have not.
#: They give tokens instead.
_AS_TOKENS = {"Gemma4VitClassifier"}


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
    """Remove the layers behind an intermediate output, and return how many parameters they had.

    What the model computes from then on is its ``forward_intermediates``, and surgery looks there.
    """
    before = sum(parameter.numel() for parameter in model.parameters())
    cast(Any, model).prune_intermediate_layers([index], prune_norm=True, prune_head=True)
    after = sum(parameter.numel() for parameter in model.parameters())
    setattr(model, ENTRY, "forward_intermediates")
    return f"{before - after:,} of its {before:,} parameters"


def features_of(model: nn.Module, images: Tensor, stop: int | None) -> Tensor:
    """Return pooled features ``(B, num_features)``.

    Args:
        model: A model without its classifier, and without what lies behind ``stop``.
        images: ``(B, C, H, W)``.
        stop: The index of an intermediate output; ``None`` for the model's own features.
    """
    if stop is None:
        return cast(Tensor, model(images))
    (output,) = cast(Any, model).forward_intermediates(
        images,
        indices=[stop],
        stop_early=True,
        intermediates_only=True,
        **output_format(model),
    )
    return pooled(output)


def features_on_meta(
    name: str, blueprint: nn.Module, stop: int | None, input_size: Sequence[int]
) -> Tensor:
    """Return features without values, with the graph that leads to them from all parameters.

    Raises:
        ValueError: If the model takes no images of this size, or has no pooled features.
    """
    blueprint.requires_grad_(True)  # Also what timm fixes: phases train it with its group.
    output = output_on_meta(name, partial(features_of, blueprint, stop=stop), 1, input_size)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"{name} gives {shape} instead of pooled features (B, num_features). Choose a "
            "timm classification model."
        )
    return output


def output_format(model: nn.Module) -> dict[str, str]:
    """Return the argument of ``forward_intermediates`` for outputs that `pooled` takes."""
    return {"output_fmt": "NLC"} if type(model).__name__ in _AS_TOKENS else {}


def pooled(output: Tensor) -> Tensor:
    """Return the mean ``(B, C)`` of an intermediate output ``(B, C, H', W')`` or ``(B, N, C)``."""
    return output.mean(dim=(2, 3) if output.ndim == 4 else 1)
