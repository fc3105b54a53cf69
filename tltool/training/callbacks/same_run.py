"""Lightning callback that compares the ranks before training: images, configuration, versions."""

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.labels import label_text
from tltool.data.loading.samples import Splits
from tltool.training.distributed.collectives import is_distributed
from tltool.training.distributed.launch import node_name
from tltool.training.distributed.rank_agreement import check_same
from tltool.training.resume_facts import git_commit, image_names, package_versions

_OF_EACH_RANK = {
    "config",
    "seed_everything",
}  # Paths of YAML; a random seed, of which rank 0's counts.


class SameRun(Callback):
    """Raise on all ranks, before training, if one of them would train something else.

    Args:
        config: The configuration, as plain data.
        ignored: Dotted keys of it that each rank may have for itself.
    """

    def __init__(self, config: Mapping[str, Any], ignored: frozenset[str] = frozenset()) -> None:
        flat = flatten({key: config[key] for key in config.keys() - _OF_EACH_RANK})
        self.config = {key: value for key, value in flat.items() if key not in ignored}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare.

        Raises:
            ValueError: On all ranks, with the first rank that differs from rank 0, and in what.
        """
        if stage != "fit" or not is_distributed():
            return
        data = getattr(trainer, "datamodule", None)
        facts = {**process_facts(), **self.config}
        if isinstance(data, ImageDataModule):
            facts["images"] = describe_listing(data.splits, data.class_names)
        of_ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(of_ranks, (node_name(), facts))
        check_same(of_ranks)


def process_facts() -> dict[str, Any]:
    """Return the versions of what computes: packages, Python, and the commit."""
    versions = {**package_versions(), "python": platform.python_version()}
    return {**versions, "commit": git_commit(Path.cwd())}


def describe_listing(splits: Splits, class_names: list[str]) -> str:
    """Return how many images each split has, and a short hash of their names, order and labels.

    It does not depend on where the images lie.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> here, there = (Splits(Samples([f"/{top}/a/1", f"/{top}/b/1"], [0, 1])) for top in "xy")
        >>> describe_listing(here, ["a", "b"]) == describe_listing(there, ["a", "b"])
        True
    """
    named, digest = image_names(splits), hashlib.sha256()
    for split, samples in splits.by_name().items():
        labels = [label_text(label, class_names) for label in samples.labels or []]
        for name, label in zip(named[split], labels, strict=True):
            line = f"{split}\t{name}\t{label}\n"
            digest.update(line.encode(errors="surrogateescape"))
    sizes = ", ".join(f"{len(samples)} {split}" for split, samples in splits.by_name().items())
    return f"{sizes} (listing {digest.hexdigest()[:8]})"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain data by dotted keys.

    Example:
        >>> flatten({"trainer": {"devices": 2}, "name": None})
        {'trainer.devices': 2, 'name': None}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
