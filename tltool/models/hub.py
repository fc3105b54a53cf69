"""timm's hub: where it keeps pretrained weights, and whether a copy lies on this machine."""

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import huggingface_hub
import timm.models
import torch

from tltool.models import weights as weight_sources


def find_cached(name: str) -> Path | None:
    """Return the copy of a model's pretrained weights that an earlier download left, or ``None``.

    Only files that tltool reads count; timm has a few in other formats.

    Raises:
        ValueError: If timm has no pretrained weights for this model.
    """
    config = pretrained_config(name)
    repository = _repository(config)
    if repository is not None:
        file = config.hf_hub_filename or "model.safetensors"
        cached = huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(cached, str) and _is_readable(Path(cached)):
            return Path(cached)
    if not config.url:
        return None
    # Where `torch.hub` puts what it downloads.
    path = Path(torch.hub.get_dir(), "checkpoints", url_file_name(config.url))
    return path if _is_readable(path) else None


def url_file_name(url: str) -> str:
    """Return the name of the file that a download from an address gets.

    Example:
        >>> url_file_name("https://example.org/weights/resnet18-5c106cde.pth?download=1")
        'resnet18-5c106cde.pth'
    """
    return Path(urlparse(url).path).name


def check_download(name: str) -> None:
    """Raise an error if the pretrained weights of a model cannot be downloaded.

    Raises:
        ValueError: If timm has no pretrained weights for this model.
        ConnectionError: If the place where they lie does not answer.
    """
    config = pretrained_config(name)
    url = huggingface_hub.constants.ENDPOINT if _repository(config) is not None else config.url
    weight_sources.check_reachable(url, name)


def pretrained_config(name: str) -> Any:
    """Return what timm knows about the pretrained weights of a model.

    Raises:
        ValueError: If it has none.
    """
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ValueError(
            f"timm has no pretrained weights for {name!r}. Set `weights` to a file, to "
            "package:NAME, or to random."
        )
    return config


def _is_readable(path: Path) -> bool:
    return path.suffix in weight_sources.SUFFIXES and path.is_file()


def _repository(config: Any) -> str | None:
    repository: str | None = config.hf_hub_id
    if not repository:
        return None
    return repository if repository.count("/") else f"timm/{repository}"
