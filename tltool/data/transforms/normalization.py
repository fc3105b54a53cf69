"""Normalization of pixels: mean, standard deviation or mean image, and how they are measured."""

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Preprocessing = Literal["backbone", "dataset", "center", "mean_image", "none"]


@dataclass(frozen=True)
class PixelStatistics:
    """What `measure_pixels` found, for pixels in 0..1.

    Attributes:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        mean_image: The mean image ``(C, H, W)``, rounded to 8 bits.
    """

    mean: list[float]
    std: list[float]
    mean_image: Tensor


def resolve_preprocessing(
    data_config: Mapping[str, Any],
    preprocessing: Preprocessing,
    measure: Callable[[], PixelStatistics],
) -> dict[str, Any]:
    """Return the configuration with the numbers of a preprocessing, as plain data for a checkpoint.

    A configuration that is already resolved, such as that of a checkpoint, is returned as it is:
    it carries the statistics of the images that the model was trained on.

    Args:
        data_config: The backbone's own configuration.
        preprocessing: ``backbone``: its own mean and standard deviation, what pretrained weights
            expect. ``dataset``: those of the training images. ``center``: subtract the mean of each
            channel only. ``mean_image``: subtract the mean image (Krizhevsky et al., 2012, section
            2, https://papers.nips.cc/paper/4824). ``none``: pixels in 0..1. None of the other
            choices did better than ``backbone`` with pretrained weights, on two data sets
            (`scripts/benchmark/README.md`); they are for training from scratch.
        measure: Gives the statistics of the training images; called only where they are needed.

    Raises:
        ValueError: If a channel that is to be scaled has the same value everywhere, or a resolved
            configuration is of another preprocessing than the one asked for.

    Example:
        >>> resolve_preprocessing({"mean": [0.4], "std": [0.2]}, "none", measure=None)
        {'mean': [0.0], 'std': [1.0], 'preprocessing': 'none'}
    """
    stored = data_config.get("preprocessing")
    if stored is not None:
        if preprocessing not in ("backbone", stored):  # The default asks for nothing.
            raise ValueError(
                f"The model was trained with `preprocessing: {stored}`, and with {preprocessing!r} "
                "it would see other pixels than it knows. Leave --data.preprocessing out."
            )
        return dict(data_config)
    if preprocessing == "backbone":
        return {**data_config, "preprocessing": preprocessing}
    channels = len(data_config["mean"])
    zeros, ones = [0.0] * channels, [1.0] * channels
    if preprocessing == "none":
        return {**data_config, "mean": zeros, "std": ones, "preprocessing": preprocessing}
    found = measure()
    resolved = {**data_config, "mean": found.mean, "std": ones, "preprocessing": preprocessing}
    if preprocessing == "dataset":
        if min(found.std) < 1e-5:
            raise ValueError(
                "The training images have a channel with the same value everywhere, which cannot "
                "be scaled to unit variance. Set --data.preprocessing center, or backbone."
            )
        resolved["std"] = found.std
    if preprocessing == "mean_image":
        resolved["mean_image"] = encode_image(found.mean_image)
    return resolved


def resolve_value_range(
    data_config: Mapping[str, Any], value_range: Sequence[float] | None
) -> dict[str, Any]:
    """Return the configuration with the range of pixel values, where there is one.

    Args:
        data_config: A backbone's own configuration, or that of a checkpoint.
        value_range: The values of black and of white, or ``None`` for those of the configuration.

    Raises:
        ValueError: If a checkpoint was trained with another range.

    Example:
        >>> resolve_value_range({"mean": [0.4]}, [0.0, 4095.0])
        {'mean': [0.4], 'value_range': [0.0, 4095.0]}
    """
    stored = data_config.get("value_range")
    if value_range is None:
        return dict(data_config)
    if stored is not None and list(stored) != list(value_range):
        raise ValueError(
            f"The model was trained with `value_range: {list(stored)}`, and with "
            f"{list(value_range)} it would see other pixels than it knows. Leave "
            "--data.value_range out."
        )
    return {**data_config, "value_range": list(value_range)}


def shift_and_scale(data_config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return what is subtracted from pixels in 0..1 and what they are divided by.

    Shape:
        - Output: ``(C, 1, 1)``, or ``(C, H, W)`` for a mean image; and ``(C, 1, 1)``
    """
    scale = torch.tensor(data_config["std"]).view(-1, 1, 1)
    if "mean_image" in data_config:
        return decode_image_text(data_config["mean_image"]).to(torch.float32) / 255, scale
    return torch.tensor(data_config["mean"]).view(-1, 1, 1), scale


def encode_image(pixels: Tensor) -> str:
    """Return 8-bit pixels ``(C, H, W)`` as text: a PNG in base 64, a third of the size of a list.

    Example:
        >>> pixels = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
        >>> torch.equal(decode_image_text(encode_image(pixels)), pixels)
        True
    """
    values = pixels.permute(1, 2, 0).numpy()  # (H, W, C)
    file = io.BytesIO()
    Image.fromarray(values if len(pixels) > 1 else values[..., 0]).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def decode_image_text(text: str) -> Tensor:
    """Return the pixels ``(C, H, W)`` of `encode_image`."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        values = torch.from_numpy(np.array(image))  # (H, W) or (H, W, C)
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def measure_pixels(images: Iterable[Tensor]) -> PixelStatistics:
    """Return mean and standard deviation over images ``(C, H, W)`` of 8-bit pixels.

    Sums are whole numbers, so the result does not depend on the order, and all ranks agree.

    Raises:
        ValueError: If there is no image.

    Example:
        >>> black, white = torch.zeros(1, 2, 2), torch.full((1, 2, 2), 255)
        >>> statistics = measure_pixels([black.byte(), white.byte()])
        >>> statistics.mean, statistics.std
        ([0.5], [0.5])
    """
    # NumPy, for torch's own threads wait for the cores that decode, which is many times slower.
    count, total, squares = 0, np.array(0), np.array(0)
    for image in images:
        pixels = image.numpy().astype(np.int64)  # (C, H, W)
        count, total = count + 1, total + pixels
        squares = squares + np.square(pixels).sum((1, 2))
    if not count:
        raise ValueError("The mean of no images is not defined. Set --data.preprocessing backbone.")
    num_pixels = count * total[0].size
    mean = total.sum((1, 2)) / num_pixels
    std = np.sqrt(np.maximum(squares / num_pixels - np.square(mean), 0))
    mean_image = torch.from_numpy((total / count).round().astype(np.uint8))
    return PixelStatistics((mean / 255).tolist(), (std / 255).tolist(), mean_image)
