"""Agreement of the preprocessing of a datamodule with that of its task."""

from collections.abc import Mapping
from typing import Any

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
