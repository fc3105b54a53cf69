"""Segments: immutable files of features, which are there whole or not at all."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tltool._atomic_write import whole_file
from tltool.features.file_hashes import HASH_BYTES

KEY_BYTES = HASH_BYTES
"""Length of the key of a row: a hash of the content, see `view_keys`."""

_SUFFIX = ".safetensors"
_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}


class DamagedSegmentError(ValueError):
    """A segment that is not what was written; the message names the file."""


class Segment(NamedTuple):
    """Rows of features and what each belongs to.

    Attributes:
        keys: ``(n, KEY_BYTES)``, bytes.
        features: ``(n, num_features)``, mapped into memory: read from disk where it is used.
    """

    keys: Tensor
    features: Tensor


def write_segment(directory: Path, keys: Tensor, parts: Sequence[Tensor]) -> Path:
    """Write a segment under a name of its own and return the path.

    It gets its name after all of it has reached the disk. The layout is that of safetensors, so
    other tools read it.

    Args:
        directory: Where to.
        keys: ``(n, KEY_BYTES)``, bytes.
        parts: Features ``(m, num_features)`` of one type, together ``n`` rows. One part at a time
            is read, so mapped ones may be larger than the memory.

    Raises:
        OSError: If the disk is full or cannot be written; nothing is left behind.

    Example:
        >>> import tempfile
        >>> keys, rows = torch.zeros(2, KEY_BYTES, dtype=torch.uint8), torch.randn(2, 4)
        >>> path = write_segment(Path(tempfile.mkdtemp()), keys, [rows])
        >>> torch.equal(read_segment(path).features, rows)
        True
    """
    path = directory / f"{uuid.uuid4().hex}{_SUFFIX}"
    with whole_file(path, sync=True) as partial, partial.open("wb") as file:
        file.write(_header(keys, parts))
        file.writelines(map(_bytes, (*parts, keys)))
    return path


def read_segment(path: Path, *, check_features: bool = False) -> Segment:
    """Map a segment into memory.

    Args:
        path: The file.
        check_features: Whether all features are read, and their checksum is compared.

    Raises:
        DamagedSegmentError: If it was cut off, or its keys or features are not those written.
        FileNotFoundError: If it is not there any more.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            keys, features = file.get_tensor("keys"), file.get_tensor("features")
    except SafetensorError as error:
        raise DamagedSegmentError(f"'{path}' is damaged: {error}.") from error
    if _checksum([keys]) != facts.get("keys_checksum"):
        raise DamagedSegmentError(f"'{path}' is damaged: its keys are not those written.")
    if check_features and _checksum([features]) != facts.get("features_checksum"):
        raise DamagedSegmentError(f"'{path}' is damaged: its features are not those written.")
    return Segment(keys, features)


def segment_paths(directory: Path) -> list[Path]:
    """Return the whole segments of a directory, the same order in every process."""
    return sorted(directory.glob(f"*{_SUFFIX}")) if directory.is_dir() else []


def _header(keys: Tensor, parts: Sequence[Tensor]) -> bytes:
    """Return the beginning of a file of safetensors.

    https://huggingface.co/docs/safetensors describes it.
    """
    size, shape = sum(part.nbytes for part in parts), [len(keys), parts[0].shape[1]]
    spans = [0, size], [size, size + keys.nbytes]
    header = {
        "__metadata__": {"features_checksum": _checksum(parts), "keys_checksum": _checksum([keys])},
        "features": {"dtype": _DTYPES[parts[0].dtype], "shape": shape, "data_offsets": spans[0]},
        "keys": {"dtype": "U8", "shape": list(keys.shape), "data_offsets": spans[1]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # So that mapped numbers lie where the processor wants them.
    return len(text).to_bytes(8, "little") + text


def _checksum(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for tensor in tensors:
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().view(torch.uint8).numpy().data.cast("B")
