"""Agreement of the preprocessing of a datamodule with that of its task."""

from collections.abc import Mapping
from typing import Any

from tltool._plain_text import pixel_size
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.models.serialization import plain


def agreed_data_config(data: ImageDataModule, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the preprocessing of a datamodule, after a look at the one that a task was given.

    Args:
        data: The datamodule of a run.
        given: The task's ``data_config``; ``None`` takes that of the datamodule.

    Raises:
        ValueError: If they differ: a checkpoint would then predict from other pixels than those
            that it has learned from.
    """
    used: dict[str, Any] = plain(data.resolved_data_config(), "data_config")
    given = used if given is None else plain(given, "data_config")
    for key, value in used.items():
        if given.get(key, value) != value:
            raise ValueError(
                f"The images and the task have different preprocessing: {key} is {value!r} and "
                f"{given[key]!r}. Leave `data_config` of ImageTask out: it takes the images' own."
            )
    return used


def foreign_images_warning(config: Mapping[str, Any]) -> str:
    """Return what to say where no datamodule of tltool tells how the images were prepared.

    Args:
        config: What a checkpoint will prepare images by.

    Example:
        >>> config = {"input_size": [3, 224, 224], "mean": [0.5], "std": [0.5]}
        >>> print(foreign_images_warning(config))
        The images come from no datamodule of tltool. ... to 224 px, mean [0.5], std [0.5]...
    """
    size = pixel_size(config["input_size"])
    return (
        "The images come from no datamodule of tltool. Whoever predicts with the checkpoint "
        f"resizes them to {size} px, mean {config['mean']}, std {config['std']}: prepare "
        "those that train alike, such as by tltool's ImageTransform, or say how they are prepared: "
        "ImageTask(data_config=...)."
    )
