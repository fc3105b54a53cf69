"""A ``.safetensors`` file that says of which model its weights are, and how to prepare images."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tltool._atomic_write import whole_file, write_whole
from tltool.models.weights.state_dict_files import checksum_path, sha256_of

_KEY = "tltool"  # in the file's metadata, which is a flat mapping of strings
#: The keys that say how images are prepared, as timm names them.
PREPROCESSING = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def save_weights(
    path: Path,
    state_dict: Mapping[str, Tensor],
    description: Mapping[str, Any],
    *,
    check: Callable[[Path], None] | None = None,
) -> str:
    """Write weights with their description, whole or not at all, and a checksum beside them.

    The checksum is in ``<path>.sha256``, for ``sha256sum -c`` and for whoever reads the weights.

    Args:
        path: The file; its folder is made where it is missing.
        state_dict: The weights.
        description: Plain data: ``name``, ``data_config``, and whatever else is worth knowing.
        check: Gets the written file before it takes its place, and raises where it shall not.

    Returns:
        The checksum.

    Raises:
        OSError: If the file cannot be written.
    """
    # Copies: safetensors refuses tensors that share memory or lie in another memory format.
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in state_dict.items()}
    beside = checksum_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, sync=True) as partial:
            save_file(tensors, partial, {"format": "pt", _KEY: json.dumps(dict(description))})
            if check is not None:
                check(partial)
            checksum = sha256_of(partial)
            # Weights without a checksum are better than new ones with that of the old.
            beside.unlink(missing_ok=True)
        write_whole(beside, f"{checksum}  {path.name}\n")
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise OSError(
            f"Cannot write the weights to '{path}': {reason or error}. Name another folder."
        ) from error
    return checksum


def read_description(path: Path) -> dict[str, Any]:
    """Return what `save_weights` wrote beside the weights; empty for any other file.

    Example:
        >>> read_description(Path("no_such_file.safetensors"))
        {}
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY, "{}")
    except (SafetensorError, OSError):
        return {}  # Whoever reads the weights says what is wrong with the file.
    description: dict[str, Any] = json.loads(text)
    return description
