"""Files that hold a state dict: reading them without unpickling, and their checksums."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # the error alone: nothing is unpickled here

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")

OWN = "backbone.model."  # A backbone's keys begin so in tltool's own checkpoints.

StateDict = dict[str, Tensor]


def read_file(path: str | Path) -> StateDict:
    """Read a state dict without unpickling anything but tensors.

    Accepts ``.safetensors`` and PyTorch files, which may hold the state dict under ``state_dict``
    or ``model`` and carry a ``module.`` or ``_orig_mod.`` prefix. From tltool's own checkpoints the
    backbone is taken.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a state dict that loads with ``weights_only=True``, or is not
            the one that the checksum beside it was made of.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no weights file {str(path)!r}. Set `weights` to an existing "
            f"{', '.join(SUFFIXES)} file, to package:NAME, to pretrained (the hub) or to random."
        )
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"Weights file {str(path)!r} has the suffix {path.suffix!r}; tltool reads "
            f"{', '.join(SUFFIXES)}."
        )
    _check_checksum(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_is_pytorch(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"Weights file {str(path)!r} cannot be read: {error}") from error
    except UnpicklingError as error:
        raise ValueError(
            f"Weights file {str(path)!r} holds more than tensors and plain data, or is no PyTorch "
            "file; tltool does not unpickle it. Save `model.state_dict()` alone, best as "
            ".safetensors."
        ) from error
    return _unwrap(content, path)


def checksum_path(path: Path) -> Path:
    """Return where the checksum of a file lies, in the format of ``sha256sum``."""
    return path.with_name(f"{path.name}.sha256")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_checksum(path: Path) -> None:
    beside = checksum_path(path)
    if not beside.is_file():
        return
    expected, found = beside.read_text(encoding="utf-8").split()[:1], sha256_of(path)
    if expected != [found]:
        raise ValueError(
            f"Weights file {str(path)!r} is damaged or was changed: its checksum is {found}, and "
            f"'{beside.name}' beside it says {''.join(expected) or 'nothing'}. Copy or fetch it "
            "again, or delete that file if the change was yours."
        )


def _check_is_pytorch(path: Path) -> None:
    """Look at the first bytes, for torch.load meets a text file with errors of any kind."""
    with path.open("rb") as file:
        start = file.read(2)
    # A zip archive, or a pickle as torch wrote it before 1.6.
    if start not in (b"PK", b"\x80\x02"):
        raise ValueError("it is no PyTorch file")


def _unwrap(content: object, path: Path) -> StateDict:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"Weights file {str(path)!r} holds no state dict. Save `model.state_dict()`, best as "
            ".safetensors."
        )
    state_dict = {
        str(k).removeprefix("module.").removeprefix("_orig_mod."): v for k, v in content.items()
    }
    own = {k.removeprefix(OWN): v for k, v in state_dict.items() if k.startswith(OWN)}
    return own or state_dict
