"""A ``.safetensors`` file of a whole task, which stands for its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tltool.models.weights.safetensors_file import read_description
from tltool.models.weights.state_dict_files import check_checksum

# How to rebuild the task; what its probabilities rest on.
_TASK, _CALIBRATION = "whole_task", "calibration"


def task_facts(config: Mapping[str, Any], calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the description of a file must hold so that `read_task` rebuilds its task.

    Args:
        config: The `task_config` of the task.
        calibration: What a checkpoint of it keeps under this name; empty for nothing.
    """
    return {_TASK: dict(config), _CALIBRATION: dict(calibration)}


def is_task_file(path: Path) -> bool:
    """Tell whether a file holds a whole task."""
    return path.suffix.lower() == ".safetensors" and _TASK in read_description(path)


def read_task(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return how to rebuild a task, and its weights.

    Raises:
        ValueError: If the file is damaged, or is not that of the checksum beside it.
    """
    check_checksum(path)
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"'{path}' cannot be read: {error}. Write it anew.") from error
    config: dict[str, Any] = read_description(path)[_TASK]
    return config, state
