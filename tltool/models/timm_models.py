"""timm's models: their names, options and preprocessing, and blueprints without weights.

What timm knows about them is in `timm_catalog` and `weights.hub`, the loading of their weights in
`weights.loading`, their layer groups in `timm_layer_groups`.
"""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from tltool.models.timm_catalog import nearest_names


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


def model_options(
    name: str, in_chans: int, img_size: int | None, drop_rate: float, drop_path_rate: float
) -> dict[str, Any]:
    """Return the keyword arguments for ``create_model``, without those at their default."""
    options: dict[str, Any] = {"num_classes": 0, "in_chans": in_chans}
    for option, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
        if not 0 <= rate < 1:
            raise ValueError(f"`{option}` must be in [0, 1), got {rate}.")
        options |= {option: rate} if rate else {}
    cls = type(on_meta_device(name, {"num_classes": 0}))
    signature = inspect.signature(cls.__init__).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.values())
    for option in options:
        if option not in signature and not takes_any:
            raise ValueError(f"{name} has no `{option}`. Leave it out, or choose another backbone.")
    # A convolutional network takes any size; a transformer is built for one.
    if img_size is not None and "img_size" in signature:
        options["img_size"] = img_size
    return options


def on_meta_device(name: str, options: dict[str, Any]) -> nn.Module:
    """Build the model without memory for its weights, to look at its shapes."""
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, **options)
    return model.eval()


def data_config_of(
    model: nn.Module, in_chans: int, img_size: int | None, own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the preprocessing that the model's weights expect, for these images.

    Args:
        model: The model, as timm made it.
        in_chans: Number of image channels.
        img_size: Height and width in pixels; ``None`` for that of the weights.
        own: What the weights themselves say otherwise than timm, see `own_preprocessing`.
    """
    # timm does not type this function.
    config: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    # A transformer that is built for one size takes no other, whatever the weights were saved with.
    fixed = cast(Any, model).pretrained_cfg.get("fixed_input_size")
    config |= {key: value for key, value in own.items() if key != "input_size" or not fixed}
    size = (img_size, img_size) if img_size is not None else config["input_size"][1:]
    config["input_size"] = (in_chans, *size)
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
