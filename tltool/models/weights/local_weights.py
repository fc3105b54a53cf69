"""The pretrained weights that this machine has: installed packages, caches, files in a folder."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import timm

from tltool.models.weights import hub
from tltool.models.weights.packages import ORDERED_PACKAGES, is_installed
from tltool.models.weights.safetensors_file import read_description
from tltool.models.weights.state_dict_files import SUFFIXES


class LocalWeights(NamedTuple):
    """Weights that need no download.

    Attributes:
        name: The model, as `Backbone` takes it.
        weights: The source, as `Backbone` takes it.
    """

    name: str
    weights: str


def find_local_weights(folder: Path | None = None) -> list[LocalWeights]:
    """Return all weights that need no download.

    These are the installed packages that are known to carry weights, what earlier downloads left
    in the hub's cache and in that of ``torch.hub``, and the files in a folder.

    Args:
        folder: A folder with files of weights. `model_of_file` says which can be used.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    files = [] if folder is None else list(_in_folder(folder))
    return [*_packages(), *_cached(), *files]


def _packages() -> Iterator[LocalWeights]:
    for package, ordered in ORDERED_PACKAGES.items():
        if is_installed(package):
            yield LocalWeights(ordered.model_name, f"package:{package}")


def _cached() -> Iterator[LocalWeights]:
    for name in timm.list_pretrained():
        if hub.find_cached(name) is not None:
            yield LocalWeights(name, "pretrained")


def _in_folder(folder: Path) -> Iterator[LocalWeights]:
    for path in weights_files(folder):
        name = model_of_file(path)
        if name is not None:
            yield LocalWeights(name, str(path))


def weights_files(folder: Path) -> list[Path]:
    """Return the files of weights in a folder, sorted; hidden ones are left out.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{folder}' with weights. Fill one where there is a network: "
            f"tltool backbones --fetch NAME --to '{folder}'."
        )
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def model_of_file(path: Path) -> str | None:
    """Return the model that a file has the weights of, or ``None`` where nothing says it.

    The file says it itself (`tltool backbones --fetch` writes such files), or it has the name
    under which timm downloads it, or is named like the model: ``resnet18.a1_in1k.safetensors``.

    Example:
        >>> model_of_file(Path("resnet18.a1_in1k.pth")), model_of_file(Path("epoch=3.ckpt"))
        ('resnet18.a1_in1k', None)
    """
    described = read_description(path).get("name")
    if described is not None:
        return str(described)
    downloaded = _names_by_url_file().get(path.name)
    if downloaded is not None:
        return downloaded
    known = timm.is_model(path.stem) and ("." not in path.stem or path.stem in _pretrained())
    return path.stem if known else None


@functools.cache
def _pretrained() -> frozenset[str]:
    return frozenset(timm.list_pretrained())


@functools.cache
def _names_by_url_file() -> dict[str, str]:
    configs = {name: hub.pretrained_config(name) for name in timm.list_pretrained()}
    return {
        hub.url_file_name(config.url): name
        for name, config in configs.items()
        if config.url  # Most lie on the hub alone, where all files are named alike.
    }
