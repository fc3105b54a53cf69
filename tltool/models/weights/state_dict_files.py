"""Files that hold a state dict: reading them without unpickling, and their checksums."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tltool.models.weights.state_dict_choice import StateDict, choose_state_dict
from tltool.models.weights.torch_files import read_torch_file

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".pt.tar")

# How the hub of Hugging Face names the weights in a folder, the safer format first.
_FOLDER_FILES = (
    *("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)
INDEX = ".index.json"
"""Behind the name of a file that is split into shards."""


def has_weights_suffix(path: Path) -> bool:
    """Tell whether a file is named like weights, in lower or upper case."""
    return path.name.lower().endswith(SUFFIXES)


def name_without_suffix(path: Path) -> str:
    """Return the name of a file of weights without its suffix.

    Example:
        >>> name_without_suffix(Path("resnet18.a1_in1k.pth.tar"))
        'resnet18.a1_in1k'
    """
    longest_first = sorted(SUFFIXES, key=len, reverse=True)
    found = next((end for end in longest_first if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(found)]


def folder_files() -> Iterator[str]:
    """Yield the names that the weights in a folder may have, the one to prefer first."""
    for name in _FOLDER_FILES:
        yield from (name, name + INDEX)


def read_file(
    path: str | Path, like: Mapping[str, Tensor] | None = None, key: str | None = None
) -> StateDict:
    """Read a state dict without unpickling anything but tensors.

    Accepts safetensors and PyTorch files, the index of a file that is split into shards, and a
    folder with either as the hub of Hugging Face names them. See `choose_state_dict` for which
    tensors are taken. From tltool's own checkpoints it is the backbone.

    Args:
        path: The file.
        like: See `choose_state_dict`.
        key: See `choose_state_dict`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no state dict that loads with ``weights_only=True``, or is not
            the one that the checksum beside it was made of.
        OSError: If it cannot be read.
    """
    path = _existing_file(Path(path).expanduser())
    shards = _shards(path)
    contents = [_read(shard) for shard in shards]
    if len(contents) > 1:
        contents = [{name: value for content in contents for name, value in content.items()}]
    return choose_state_dict(contents[0], f"Weights file {str(path)!r}", like or {}, key)


def checksum_path(path: Path) -> Path:
    """Return where the checksum of a file lies, in the format of ``sha256sum``."""
    return path.with_name(f"{path.name}.sha256")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_checksum(path: Path) -> None:
    """Refuse a file that is not the one that the checksum beside it was made of, if there is one.

    Raises:
        ValueError: If it is another one.
        OSError: If it cannot be read.
    """
    beside = checksum_path(path)
    if not beside.is_file():
        return
    try:
        expected = beside.read_text(encoding="utf-8", errors="replace").split()[:1]
        found = sha256_of(path)
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    if expected != [found]:
        raise ValueError(
            f"Weights file {str(path)!r} is damaged or was changed: its checksum is {found}, and "
            f"'{beside.name}' beside it says {''.join(expected) or 'nothing'}. Copy or fetch it "
            "again, or delete that file if the change was yours."
        )


def _read(path: Path) -> Any:
    check_checksum(path)
    try:
        return read_torch_file(path, "Weights file")
    except ValueError as error:
        if has_weights_suffix(path):
            raise
        raise ValueError(
            f"{error} Its suffix is {path.suffix!r}; tltool reads {', '.join(SUFFIXES)}."
        ) from error


def _existing_file(path: Path) -> Path:
    """Return the file of weights that a path names: itself, or the one in a folder."""
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise OSError(f"Weights file {str(path)!r} cannot be found: {error.strerror}.") from error
    if is_folder:
        return _file_in(path)
    if not is_file:
        hint = " Download it first: that is an address." if ":/" in str(path) else ""
        raise FileNotFoundError(
            f"There is no weights file {str(path)!r}.{hint} Set `weights` to an existing "
            f"{', '.join(SUFFIXES)} file, to package:NAME, to pretrained (the hub) or to random."
        )
    return path


def _file_in(folder: Path) -> Path:
    found = next((folder / name for name in folder_files() if (folder / name).is_file()), None)
    if found is None:
        there = sorted(path.name for path in folder.iterdir() if has_weights_suffix(path))
        such = f", such as {str(folder / there[0])!r}" if there else ""
        raise IsADirectoryError(
            f"{str(folder)!r} is a folder without {' or '.join(_FOLDER_FILES[:2])}. Set `weights` "
            f"to a file{such}."
        )
    return found


def _shards(path: Path) -> list[Path]:
    """Return the files that an index names; any other file alone."""
    if not path.name.endswith(INDEX):
        return [path]
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise ValueError(
            f"{str(path)!r} is no index of weights in several files, or is damaged: it should hold "
            "a `weight_map`. Download or copy it again."
        ) from error
    shards = [path.with_name(Path(name).name) for name in sorted(names)]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing or not shards:
        raise FileNotFoundError(
            f"{str(path)!r} names {len(shards)} files, and these are not beside it: "
            f"{', '.join(missing[:3]) or 'none'}. Copy or download them too."
        )
    return shards
