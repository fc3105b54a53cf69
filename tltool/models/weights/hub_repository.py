"""Repositories of the hub of Hugging Face: their files, from its cache or downloaded."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tltool.models.weights.hub import check_reachable
from tltool.models.weights.state_dict_files import INDEX, folder_files

HUB = "hf-hub:"

_SOURCE = re.compile(rf"{HUB}(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def find_file(source: str, file: str) -> Path:
    """Return a file of a repository: the copy in the cache of the hub, or a download.

    Args:
        source: ``hf-hub:ORGANIZATION/NAME``, with ``@REVISION`` behind it for one that is not the
            newest. A copy in the cache is taken as it is, and the hub is not asked.
        file: Its name.

    Raises:
        ValueError: If there is no such repository, revision or file, or it is not open to you.
        ConnectionError: If it is not in the cache and the hub is out of reach.
    """
    found = _cached(source, file) or _download(source, file)
    if found is None:
        raise ValueError(f"The repository {source!r} has no {file}. Is it one of timm?")
    return found


def find_weights(source: str) -> Path:
    """Return the weights of a repository, or the index of those in several files, all at hand.

    Args:
        source: See `find_file`.

    Raises:
        ValueError: If there are none that tltool reads; and see `find_file`.
        ConnectionError: See `find_file`.
    """
    names = list(folder_files())
    cached = (_cached(source, name) for name in names)
    downloaded = (_download(source, name) for name in names)
    found = next(filter(None, chain(cached, downloaded)), None)
    if found is None:
        raise ValueError(
            f"The repository {source!r} has no weights that tltool reads, such as {names[0]}. "
            "Download the file that you mean, and set `weights` to it."
        )
    for shard in _shards(found):
        find_file(source, shard)
    return found


def _shards(path: Path) -> Iterator[str]:
    if path.name.endswith(INDEX):  # A damaged one is refused when it is read.
        names = json.loads(path.read_bytes()).get("weight_map", {}).values()
        yield from sorted({Path(name).name for name in names})


def _parsed(source: str) -> tuple[str, str | None]:
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise ValueError(
            f"{source!r} names no repository of the hub. Write hf-hub:ORGANIZATION/NAME, such as "
            "hf-hub:timm/resnet18.a1_in1k, and @REVISION behind it for an older one."
        )
    return found["name"], found["revision"]


def _cached(source: str, file: str) -> Path | None:
    name, revision = _parsed(source)
    path = huggingface_hub.try_to_load_from_cache(name, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _download(source: str, file: str) -> Path | None:
    """Return a file from the hub, or ``None`` if the repository has none of this name."""
    name, revision = _parsed(source)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise ConnectionError(
            f"{source!r} is not in the cache of the hub, and HF_HUB_OFFLINE forbids to download "
            "it. Unset that, or set `weights` to a file or to local-dir:FOLDER."
        )
    check_reachable(huggingface_hub.constants.ENDPOINT, source)
    try:
        return Path(huggingface_hub.hf_hub_download(name, file, revision=revision))
    except RevisionNotFoundError as error:
        raise ValueError(
            f"The hub has no revision {revision!r} of {name}. Leave it out for the newest."
        ) from error
    except GatedRepoError as error:
        raise ValueError(
            f"{name} is open only to those who have accepted its terms. Accept them on its page, "
            "and set HF_TOKEN to a token of yours."
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"The hub has no repository {name!r}, or it is private: see the spelling, or set "
            "HF_TOKEN to a token that may read it."
        ) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConnectionError(
            f"The download of {file} of {source!r} failed: {reason}. Try again, or set `weights` "
            "to a file or to local-dir:FOLDER."
        ) from error
