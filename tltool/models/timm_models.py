"""timm's models: their names and preprocessing, and blueprints without weights.

Their options are in `timm_options`, what timm knows about them in `timm_catalog` and `weights.hub`,
the loading of their weights in `weights.loading`, their layer groups in `timm_layer_groups`.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from tltool.models.timm_catalog import nearest_names

# What timm's models meet images or sizes with that do not fit them.
_SIZE_ERRORS = (AssertionError, RuntimeError, ValueError, ArithmeticError, IndexError)


def check_name(name: str) -> None:
    """Raise a ValueError that offers the nearest name, or the tags, unless timm has this model."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = " or ".join(repr(known) for known in nearest_names(architecture))
        hint = f" Did you mean {near}?" if near else ""
        raise ValueError(
            f"timm {timm.__version__} has no model {name!r}.{hint} List them: tltool backbones"
        )
    if tag and name not in timm.list_pretrained():
        tags = timm.list_pretrained(f"{architecture}.*")
        raise ValueError(
            f"timm {timm.__version__} has no weights {tag!r} for {architecture!r}. "
            f"Choose one of: {', '.join(tags) or 'none'}."
        )


def on_meta_device(name: str, options: dict[str, Any]) -> nn.Module:
    """Build the model without memory for its weights, to look at its shapes.

    Raises:
        ValueError: If it cannot be built for this ``img_size``.
    """
    try:
        # A caller's inference mode would leave tensors from which no graph can be recorded.
        with torch.inference_mode(False), torch.device("meta"):
            model: nn.Module = timm.create_model(name, **options)
    except _SIZE_ERRORS as error:
        if "img_size" not in options:
            raise
        raise _wrong_size(name, options["img_size"], error) from error
    return model.eval()


def output_on_meta(
    name: str, features: Callable[[Tensor], object], num_images: int, input_size: Sequence[int]
) -> object:
    """Return what is computed of images that are nothing but their size, with its graph.

    Args:
        name: The model, for the message.
        features: What is computed, with a model on the meta device.
        num_images: How many.
        input_size: Channels, height and width.

    Raises:
        ValueError: If it takes no images of this size.
    """
    with torch.inference_mode(False), torch.enable_grad():
        try:
            return features(torch.empty(num_images, *input_size, device="meta"))
        except _SIZE_ERRORS as error:
            raise _wrong_size(name, input_size, error) from error


def _wrong_size(name: str, size: int | Sequence[int], error: Exception) -> ValueError:
    own = cast(Any, on_meta_device(name, {"num_classes": 0})).pretrained_cfg
    # timm's own words are worth reading, torch's are not.
    words = str(error).strip(".") if isinstance(error, AssertionError) else ""
    reason = f" ({words})" if words else ""
    square = "" if isinstance(size, int) or size[-2] == size[-1] else "a square or "
    return ValueError(
        f"{name} does not take images of the size {size}{reason}. Leave `img_size` and `in_chans` "
        f"out for its own {list(own['input_size'])}, or choose {square}an `img_size` that its "
        "patches and windows divide, such as twice or half of that."
    )


def check_patches(name: str, model: nn.Module, size: Sequence[int] | None) -> None:
    """Refuse a size of whose last pixels, less than a patch, a transformer would see nothing.

    Some of timm's refuse it themselves, others drop the pixels. Its own size is never refused.

    Args:
        name: The model.
        model: Its blueprint.
        size: Height and width that were asked for, or ``None``.

    Raises:
        ValueError: If the patches do not divide it.
    """
    patches, own = getattr(model, "patch_embed", None), cast(Any, model).pretrained_cfg
    if size is None or not isinstance(patches, PatchEmbed) or patches.dynamic_img_pad:
        return
    if any(map(operator.mod, size, patches.patch_size)) and [*size] != [*own["input_size"][1:]]:
        patch = " x ".join(map(str, patches.patch_size))
        raise _wrong_size(name, size, AssertionError(f"its patches have {patch} pixels"))


def data_config_of(
    model: nn.Module, in_chans: int, size: tuple[int, int] | None, own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the preprocessing that the model's weights expect, for these images.

    Args:
        model: The model, as timm made it.
        in_chans: Number of image channels.
        size: Height and width in pixels; ``None`` for those of the weights.
        own: What the weights themselves say otherwise than timm, see `own_preprocessing`.
    """
    # timm does not type this function.
    config: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    # A transformer that is built for one size takes no other, whatever the weights were saved with.
    fixed = cast(Any, model).pretrained_cfg.get("fixed_input_size")
    config |= {key: value for key, value in own.items() if key != "input_size" or not fixed}
    config["input_size"] = (in_chans, *(size or config["input_size"][1:]))
    for key in ("mean", "std"):
        # Grey or multi-band images: the colors' average for each band.
        if len(config[key]) != in_chans:
            config[key] = (sum(config[key]) / len(config[key]),) * in_chans
    return {k: list(value) if isinstance(value, tuple) else value for k, value in config.items()}


def classifier_names(model: nn.Module) -> list[str]:
    """Return the names of the classifier's parameters, which ``num_classes=0`` has removed."""
    names = cast(Any, model).pretrained_cfg.get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
