"""Crop mode: what becomes of an image whose shape is not that of the input."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tltool._lookup import lookup

CropMode = Literal["center", "squash", "pad", "border"]

_TIMMS = {"center": "center", "squash": "squash", "pad": "border", "border": "border"}


def crop_mode_name(data_config: Mapping[str, Any]) -> str:
    """Return the crop mode of a configuration under the name that the option has.

    Example:
        >>> crop_mode_name({"crop_mode": "border"})
        'pad'
    """
    timms: str = data_config["crop_mode"]
    return {"border": "pad"}.get(timms, timms)


def resolve_crop_mode(data_config: Mapping[str, Any], crop_mode: CropMode | None) -> dict[str, Any]:
    """Return the configuration with a crop mode, under timm's name, as ``create_transform`` has it.

    Args:
        data_config: A backbone's own configuration, or that of a checkpoint.
        crop_mode: ``center`` cuts off what is beyond the shape of the input, and the edge that the
            weights' ``crop_pct`` leaves out. ``squash`` stretches the whole image to the input.
            ``pad``, timm's ``border``, shrinks the whole image, its shape kept, and fills the rest
            with the mean color, which the normalization turns into 0, but for the rounding to 8
            bits. ``None`` takes that of the configuration.

    Raises:
        ValueError: If there is no such crop mode, or a checkpoint was trained with another one.

    Example:
        >>> own = {"crop_mode": "center", "crop_pct": 0.875}
        >>> resolve_crop_mode(own, "pad")
        {'crop_mode': 'border', 'crop_pct': 1.0}
        >>> resolve_crop_mode(own, "center") == own
        True
    """
    config = dict(data_config)
    if crop_mode is None:
        return config
    chosen = lookup(_TIMMS, crop_mode, kind="crop mode")
    if "preprocessing" in config:  # That of a checkpoint
        if config["crop_mode"] != chosen:
            raise ValueError(
                f"The model was trained with `crop_mode: {crop_mode_name(config)}`, and with "
                f"{crop_mode!r} it would see other pixels than it knows. Leave --data.crop_mode "
                "out."
            )
        return config
    whole = {} if chosen == "center" else {"crop_pct": 1.0}
    return {**config, "crop_mode": chosen, **whole}


def share_seen(data_config: Mapping[str, Any], aspect: float) -> float:
    """Return the share of the area of an image that is seen in evaluation.

    Args:
        data_config: With ``input_size``, ``crop_pct`` and ``crop_mode``.
        aspect: Width by height of the image.

    Example:
        >>> config = {"input_size": (3, 224, 224), "crop_pct": 1.0, "crop_mode": "center"}
        >>> share_seen(config, 2.0), share_seen(config | {"crop_mode": "squash"}, 2.0)
        (0.5, 1.0)
    """
    input_size: Sequence[int] = data_config["input_size"]
    height, width = input_size[1:]
    kept: float = data_config["crop_pct"]
    if data_config["crop_mode"] == "squash":
        return kept**2
    scales = (height / kept, width / kept / aspect)  # of an image of height 1
    scale: float = min(scales) if data_config["crop_mode"] == "border" else max(scales)
    return min(1.0, height / scale) * min(1.0, width / (scale * aspect))
