"""What decides the numbers of a prediction, by which finished chunks are found again."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.files.decoding import decode_image
from tltool.data.loading.image_dataset import decode_with
from tltool.features.file_hashes import HASH_BYTES, hash_content
from tltool.features.fingerprint import make_fingerprint
from tltool.training.image_task import ImageTask

DRAWN = 64
"""So many images that are no files are looked at: their names are those of any data set."""


def prediction_facts(
    task: ImageTask,
    data: ImageDataModule,
    paths: Sequence[str],
    *,
    trainer: Trainer,
    num_shown: int | None,
    tta: str = "none",
) -> dict[str, Any]:
    """Return what decides the numbers of a prediction, as plain data.

    Images count by path and size, for copies on the disks of machines have dates of their own; what
    another decoder gives, such as rows of a data set, by name and the pixels of some.

    Args:
        task: The network.
        data: How the images are prepared.
        paths: The images.
        trainer: Where they are predicted, and how exactly.
        num_shown: How many classes are kept of each image; ``None`` for all.
        tta: The views whose probabilities are averaged.
    """
    device = trainer.strategy.root_device.type
    prepared = {"data": data.resolved_data_config(), "device": device}
    network = make_fingerprint(task, prepared, precision=str(trainer.precision))
    return {
        "network": network.name,
        "num_images": len(paths),
        "images": hash_listing(paths),
        "pixels": hash_pixels(data, paths),
        "batch_size": data.batch_size,
        "top_k": num_shown,
        "thresholds": task.thresholds,
        "tta": tta,
        "temperature": task.calibration.temperature,
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


def hash_pixels(data: ImageDataModule, paths: Sequence[str]) -> str:
    """Return a hash of the pixels of `DRAWN` images, taken evenly; empty where files say enough.

    Raises:
        BrokenImageError: If one of them cannot be decoded.
    """
    if data.decoder is decode_image:
        return ""
    options = data.transform().decode_options
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for path in paths[:: max(1, -(-len(paths) // DRAWN))]:
        image = decode_with(data.decoder, path, **options)
        digest.update(f"{image.size}\n".encode() + image.tobytes())
    return digest.hexdigest()
