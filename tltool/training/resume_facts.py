"""Facts that a checkpoint keeps of its run, to compare with those of the run that resumes it."""

import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from tltool.data.loading.samples import Samples, Splits
from tltool.training.resume_rules import Difference, compare

_warn = rank_zero_only(logging.getLogger(__name__).warning)

TRAINED_BEFORE = "trained_before"
"""What a checkpoint's facts call the images that its run no longer trains on, see `trained_on`."""

_NUM_BLOCKS = 16  # of a file that are looked at
_BLOCK_BYTES = 2**12
_PACKAGES = ("tltool", "torch", "torchvision", "timm", "lightning")
_FROM_CHECKPOINT = {"weights", "allow_partial"}  # A task that loads a checkpoint needs neither.


def model_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between the models of two tasks.

    Args:
        before: The ``task_config`` in a checkpoint.
        now: That of the task that it is to be loaded into.
    """
    return compare(_model_facts(before), _model_facts(now))


def _model_facts(task_config: Mapping[str, Any]) -> dict[str, Any]:
    backbone, head = task_config["backbone"], task_config["head"]
    arguments = {k: v for k, v in backbone["init_args"].items() if k not in _FROM_CHECKPOINT}
    return {
        "classes": task_config["class_names"],
        "objective": task_config.get("objective", "single_label"),
        "preprocessing": task_config["data_config"],
        "model": {"backbone": {**backbone, "init_args": arguments}, "head": head},
    }


@dataclass(frozen=True)
class RunFacts:
    """What may differ when a run is resumed, and is told.

    Args:
        images: See `image_hashes`.
        versions: Of the packages that the results depend on.
        commit: The commit that the working directory is at; ``None`` outside a repository.
        world_size: Number of ranks that each batch is split over.
    """

    images: Mapping[str, Tensor]
    versions: Mapping[str, str]
    commit: str | None
    world_size: int | None = None

    @classmethod
    def of(
        cls, splits: Splits, world_size: int, known: Mapping[str, Tensor] | None = None
    ) -> "RunFacts":
        """Return those of this process, and of the images that it trains on.

        Args:
            splits: The images.
            world_size: Number of ranks.
            known: Those of the checkpoint that they are compared with, see `image_names`.
        """
        commit = git_commit(Path.cwd())
        return cls(image_hashes(splits, known), package_versions(), commit, world_size)

    def state_dict(self) -> dict[str, Any]:
        """Return them as plain data and tensors."""
        return dict(vars(self))

    def warn_of_differences(self, before: Mapping[str, Any]) -> None:
        """Warn of what has changed since a checkpoint was written.

        Args:
            before: The `state_dict` in it; an empty one for a checkpoint without.
        """
        for difference in self.differences(before):
            _warn("Resumed: %s.", difference)

    def differences(self, before: Mapping[str, Any]) -> list[Difference]:
        """Return what has changed since a checkpoint was written, see `warn_of_differences`."""
        facts = {key: now for key, now in vars(self).items() if None not in (now, before.get(key))}
        images = facts.pop("images", None)
        found = compare({key: before[key] for key in facts}, facts)
        if images is not None:
            found += image_differences(before["images"], images)
        return found


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    return {name: version(name) for name in _PACKAGES}


def git_commit(directory: Path) -> str | None:
    """Return the commit that is checked out in a directory; ``None`` outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(directory), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() if found.returncode == 0 else None


def image_hashes(splits: Splits, known: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return a number of 64 bits for the name of each image, by split, see `image_names`.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> here, there = (Splits(Samples([f"/{top}/a/1.jpg", f"/{top}/b/1.jpg"])) for top in "xy")
        >>> torch.equal(image_hashes(here)["train"], image_hashes(there)["train"])
        True
    """
    named = image_names(splits, known)
    return {split: torch.tensor(list(map(_hash, names))) for split, names in named.items()}


def image_names(splits: Splits, known: Mapping[str, Tensor] | None = None) -> dict[str, list[str]]:
    """Return the name of each image, by split: its path from the folder on that holds all images.

    Images that moved are the same. Those in memory have their names already.

    Args:
        splits: The images.
        known: The `image_hashes` that they are compared with. Where these images are but a folder
            of those, names are from the nearest folder above on from which one of them is known.
            Those of an older checkpoint may be of relative paths as they were given, and so are
            the names then.
    """
    given = {split: list(samples.paths) for split, samples in splits.by_name().items()}
    every = [path for paths in given.values() for path in paths]
    is_file = bool(every) and (os.path.isabs(every[0]) or os.path.isfile(every[0]))
    numbers = {number for hashes in (known or {}).values() for number in hashes.tolist()}
    if not is_file or (numbers and not numbers.isdisjoint(map(_hash, every))):
        return given
    root = _root([os.path.abspath(path) for path in every], numbers)
    return {
        split: [os.path.abspath(path).removeprefix(root) for path in paths]
        for split, paths in given.items()
    }


def trained_on(checkpoint: Mapping[str, Any]) -> Tensor:
    """Return the `image_hashes` of all images that the weights of a checkpoint have trained on.

    They are the training images of its run, and those of the runs that it went on from.

    Args:
        checkpoint: As it was read; empty for one that does not know them.

    Example:
        >>> images = {"train": torch.tensor([1, 2]), "val": torch.tensor([3])}
        >>> trained_on({"run_facts": {"images": images, TRAINED_BEFORE: torch.tensor([3])}})
        tensor([1, 2, 3])
    """
    facts = checkpoint.get("run_facts", {})
    none = torch.empty(0, dtype=torch.int64)
    known = [facts.get("images", {}).get("train", none), facts.get(TRAINED_BEFORE, none)]
    return torch.cat(known)


def _root(paths: list[str], known: set[int]) -> str:
    """Return the folder from which on paths are names, see `image_names`."""
    root = os.path.commonpath({os.path.dirname(path) for path in paths})
    for folder in [root, *map(str, Path(root).parents)] if known else []:
        if any(_hash(path.removeprefix(folder)) in known for path in paths):
            return folder
    return root


def image_marks(samples: Samples) -> Tensor:
    """Return a number of 64 bits for each image, ``(N,)``, by which it is known wherever it lies.

    It is of the content of the file, and not of its name; of more than 64 KB, of 16 parts of it, so
    that large files need not be read. Of images in memory it is of the name.
    """
    return torch.tensor([_mark(path) for path in samples.paths], dtype=torch.int64)


def _mark(path: str) -> int:
    if not os.path.isfile(path):
        return _hash(path)
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.blake2b(b"%d " % size, digest_size=8)
        # Scans may have the same header and borders: the blocks are spread over the whole file.
        for start in range(0, size, max(size // _NUM_BLOCKS, _BLOCK_BYTES)):
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return int.from_bytes(digest.digest(), "big", signed=True)


def new_images(before: Mapping[str, Tensor], splits: Splits) -> list[str]:
    """Return the names of the images that a run did not have, from its `image_hashes`.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> old = Splits(Samples(["/here/a/1.jpg", "/here/b/1.jpg"]))
        >>> now = Splits(Samples(["/there/a/1.jpg", "/there/b/1.jpg", "/there/b/2.jpg"]))
        >>> new_images(image_hashes(old), now)
        ['/b/2.jpg']
    """
    known = {number for hashes in before.values() for number in hashes.tolist()}
    names = (name for split in image_names(splits, before).values() for name in split)
    return [name for name in names if _hash(name) not in known]


def _hash(name: str) -> int:
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def image_differences(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> list[Difference]:
    """Return the difference between the images of two runs: how many of each split, and which.

    Example:
        >>> before = {"train": torch.tensor([1, 2, 3]), "val": torch.tensor([4])}
        >>> now = {"train": torch.tensor([1, 2, 5]), "val": torch.tensor([3, 4])}
        >>> for one in image_differences(before, now):
        ...     print(one.before, "->", one.now)
        3 train, 1 val -> 3 train (1 added, 1 removed), 2 val (1 added, 1 of them trained on before)
    """
    old = {split: set(hashes.tolist()) for split, hashes in before.items()}
    new = {split: set(hashes.tolist()) for split, hashes in now.items()}
    if old == new:
        return []
    trained = old.get("train", set())
    words = [_counted(split, old.get(split, set()), names, trained) for split, names in new.items()]
    sizes = ", ".join(f"{len(names)} {split}" for split, names in old.items())
    return [Difference("images", sizes, ", ".join(words))]


def _counted(split: str, old: set[int], new: set[int], trained: set[int]) -> str:
    """Describe the images of a split beside those that it had."""
    leaked = len(new & trained) if split != "train" else 0
    counts = [(len(new - old), "added"), (len(old - new), "removed")]
    counts.append((leaked, "of them trained on before"))
    changes = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{len(new)} {split} ({changes})" if changes else f"{len(new)} {split}"
