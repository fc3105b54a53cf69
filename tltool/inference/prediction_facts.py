"""What decides the numbers of a prediction, by which finished chunks are found again."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.features.file_hashes import HASH_BYTES, hash_content
from tltool.features.fingerprint import make_fingerprint
from tltool.training.image_task import ImageTask


def prediction_facts(
    task: ImageTask,
    data: ImageDataModule,
    paths: Sequence[str],
    *,
    trainer: Trainer,
    num_shown: int | None,
) -> dict[str, Any]:
    """Return what decides the numbers of a prediction, as plain data.

    Images count by path and size, for copies on the disks of machines have dates of their own.

    Args:
        task: The network.
        data: How the images are prepared.
        paths: The images.
        trainer: Where they are predicted, and how exactly.
        num_shown: How many classes are kept of each image; ``None`` for all.
    """
    device = trainer.strategy.root_device.type
    prepared = {"data": data.resolved_data_config(), "device": device}
    network = make_fingerprint(task, prepared, precision=str(trainer.precision))
    return {
        "network": network.name,
        "num_images": len(paths),
        "images": hash_listing(paths),
        "batch_size": data.batch_size,
        "top_k": num_shown,
        "thresholds": task.thresholds,
    }


def facts_name(facts: dict[str, Any]) -> str:
    """Return a name of facts, which any change of one changes.

    Example:
        >>> facts_name({"batch_size": 8}) == facts_name({"batch_size": 16})
        False
    """
    return hash_content(json.dumps(facts, sort_keys=True).encode()).hex()


def hash_listing(paths: Sequence[str]) -> str:
    """Return a hash of names and sizes of files, in order; what is no file has no size.

    Example:
        >>> hash_listing(["a.png"]) == hash_listing(["b.png"])
        False
    """
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for path in paths:
        size = -1
        with contextlib.suppress(OSError, ValueError):  # Data in memory have names alone.
            size = os.stat(path).st_size
        digest.update(os.fsencode(f"{path}\0{size}\n"))
    return digest.hexdigest()
