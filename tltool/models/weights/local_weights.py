"""The pretrained weights that this machine has: installed packages, caches, files in a folder."""

import functools
from pathlib import Path
from typing import NamedTuple

import timm

from tltool._plain_text import shell_command
from tltool.models.weights import hub
from tltool.models.weights.packages import ORDERED_PACKAGES, is_installed
from tltool.models.weights.safetensors_file import read_description
from tltool.models.weights.state_dict_files import has_weights_suffix, name_without_suffix


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
    packages = {name: entry for name, entry in ORDERED_PACKAGES.items() if is_installed(name)}
    found = [LocalWeights(entry.model_name, f"package:{name}") for name, entry in packages.items()]
    cached = filter(hub.find_cached, timm.list_pretrained())
    found += [LocalWeights(name, "pretrained") for name in cached]
    files = () if folder is None else weights_files(folder)
    models = [(path, model_of_file(path)) for path in files]
    return found + [LocalWeights(name, str(path)) for path, name in models if name is not None]


def weights_files(folder: Path) -> list[Path]:
    """Return the files of weights in a folder, sorted; hidden ones are left out.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        command = shell_command("tltool", "backbones", "--fetch", "NAME", "--to", folder)
        raise FileNotFoundError(
            f"There is no folder {str(folder)!r} with weights. Fill one where there is a network: "
            f"{command}"
        )
    return sorted(
        path
        for path in folder.iterdir()
        if has_weights_suffix(path) and not path.name.startswith(".") and path.is_file()
    )


def model_of_file(path: Path) -> str | None:
    """Return the model that a file has the weights of, or ``None`` where nothing says it.

    The file says it itself (`tltool backbones --fetch` writes such files), or it has the name
    under which timm downloads it, or is named like the model: ``resnet18.a1_in1k.safetensors``.

    Example:
        >>> model_of_file(Path("resnet18.a1_in1k.pth")), model_of_file(Path("epoch=3.ckpt"))
        ('resnet18.a1_in1k', None)
    """
    names = _names_by_file()
    described: str | None = read_description(path).get("name")
    stem = name_without_suffix(path)
    untagged = stem if "." not in stem and timm.is_model(stem) else None
    return described or names.get(path.name) or names.get(stem) or untagged


@functools.cache
def _names_by_file() -> dict[str, str]:
    """Return timm's pretrained models by the file that a download leaves, and by themselves."""
    names: dict[str, str] = {}
    for name in timm.list_pretrained():
        names[name] = name
        url = hub.pretrained_config(name).url
        if url:  # Most lie on the hub alone, where all files are named alike.
            names[hub.url_file_name(url)] = name
    return names
