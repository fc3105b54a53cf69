"""Reading PyTorch and safetensors files without unpickling anything but tensors and plain data."""

import re
import struct
from _codecs import encode
from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError  # the error alone: nothing is unpickled here
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch.serialization import safe_globals

from tltool.models.weights.file_formats import file_format

_OMEGACONF = (
    *("base.Metadata", "base.ContainerMetadata", "dictconfig.DictConfig", "listconfig.ListConfig"),
    *(f"nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean", "Path")),
)
_scalar = np.float64(0).__reduce__()[0]  # how NumPy makes a number again
# Plain data too, and common in checkpoints of other tools: making them runs no code of the file.
_INERT: list[Any] = [
    Namespace,  # the arguments of timm's training script
    np.dtype,
    *{type(np.dtype(kind)) for kind in f"?{np.typecodes['AllInteger']}{np.typecodes['AllFloat']}"},
    encode,  # bytes of a NumPy number
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    # Paths of any system, which are only their text here.
    (PurePosixPath, "pathlib.PosixPath"),
    (PurePosixPath, "pathlib._local.PosixPath"),
    (PureWindowsPath, "pathlib.WindowsPath"),
    (PureWindowsPath, "pathlib._local.WindowsPath"),
    # Lightning's hyperparameters, which are a plain dictionary here.
    *(
        (OrderedDict, f"{module}.AttributeDict")
        for module in (
            *("lightning.fabric.utilities.data", "lightning_fabric.utilities.data"),
            *("lightning.pytorch.utilities.parsing", "pytorch_lightning.utilities.parsing"),
        )
    ),
    # Configurations of OmegaConf, as Hydra's users keep them there: their attributes alone.
    *((Namespace, f"omegaconf.{name}") for name in _OMEGACONF),
    *((Namespace, "typing.Any"), defaultdict, dict, list, int, float, str, bool),
]
_GLOBAL = re.compile(r"GLOBAL (\S+)")

# What torch.load meets damaged files with.
_DAMAGED = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


def read_torch_file(source: str | Path | IO[bytes], kind: str, *, map_location: str = "cpu") -> Any:
    """Return what a file holds: a PyTorch file by its content, or the tensors of a safetensors one.

    Args:
        source: The file.
        kind: What it is to be, for messages: ``Weights file`` or ``Checkpoint``.
        map_location: Where its tensors go; with ``meta`` they are not read.

    Raises:
        ValueError: If it holds something else; the message says what.
        OSError: If it cannot be opened.
    """
    if not isinstance(source, str | Path):
        return _read(
            source, source, f"{kind} {getattr(source, 'name', 'in memory')!r}", map_location
        )
    name = f"{kind} {str(source)!r}"
    try:
        with Path(source).open("rb") as file:
            return _read(file, source, name, map_location)
    except OSError as error:
        raise OSError(
            f"{name} cannot be read: {error.strerror or error}. Check its permissions and its disk."
        ) from error


def _read(file: IO[bytes], source: Any, name: str, map_location: str) -> Any:
    written_by, otherwise = file_format(file)
    if written_by is None:
        raise ValueError(f"{name} {otherwise}")
    try:
        if written_by == "safetensors":
            return load(file.read()) if source is file else load_file(source)
        with safe_globals(_INERT):
            # The open file, for torch.load refuses some names.
            return torch.load(file, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        foreign = _GLOBAL.search(str(error))
        if foreign is None:
            raise ValueError(f"{name} is damaged. Download or copy it again.") from error
        raise ValueError(
            f"{name} holds more than tensors and plain data, such as {foreign[1]}; tltool does not "
            "unpickle it. Save `model.state_dict()` alone, best as .safetensors, where it was made."
        ) from error
    except (SafetensorError, *_DAMAGED) as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ValueError(
            f"{name} is damaged or incomplete ({reason}). Download or copy it again."
        ) from error
