"""Features of the sets that judge trust.py, computed once and kept: pretrained, nothing trained."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from image_sets import make_set
from numpy.typing import NDArray
from torch import Tensor

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.diagnostics.checks.duplicates import find_duplicates
from tltool.diagnostics.checks.image_checks import hash_images
from tltool.features.extraction import extract_features
from tltool.models.backbone import Backbone

BACKBONE, IMG_SIZE = "tf_efficientnet_lite0", 160


class SetFeatures(NamedTuple):
    """A set as the frozen backbone sees it.

    Attributes:
        features: Of the training images, then of the validation images, ``(N, D)``.
        labels: ``(N,)``.
        is_val: Which of them validate, ``(N,)``.
        groups: Equal for copies, ``(N,)``.
        class_names: Names of the classes.
    """

    features: Tensor
    labels: Tensor
    is_val: Tensor
    groups: Tensor
    class_names: list[str]


def set_features(name: str, folders: dict[str, Path], sets: Path, kept: Path) -> SetFeatures:
    """Return the features of a set; compute them if they are not kept.

    Args:
        name: Of the set, see `image_sets.SETS`.
        folders: Where images lie that no package brings.
        sets: Holds the images of all sets.
        kept: Holds the features.
    """
    file = kept / f"{name}.npz"
    if not file.is_file():
        arrays = _compute(make_set(name, folders, sets))
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(kept / f".{name}.npz", **arrays)
        (kept / f".{name}.npz").rename(file)
    with np.load(file) as found:
        columns = ("features", "labels", "is_val", "groups")
        tensors = (torch.from_numpy(found[column]) for column in columns)
        return SetFeatures(*tensors, found["class_names"].tolist())


def _compute(folder: Path) -> dict[str, NDArray[np.generic]]:
    backbone = Backbone(BACKBONE, img_size=IMG_SIZE)
    data = ImageFolderDataModule(folder, num_workers=0, data_config=backbone.data_config)
    hashed = hash_images(data, None)
    clusters = find_duplicates(hashed.hashes).clusters()
    found = {}
    for split in ("train", "val"):
        loader = data.evaluation_dataloader(split)  # type: ignore[arg-type]
        found[split] = extract_features(backbone, loader, description=split, total=len(loader))
    assert hashed.splits == ["train"] * len(found["train"][1]) + ["val"] * len(found["val"][1])  # noqa: S101
    return {
        "features": torch.cat([features for features, _ in found.values()]).numpy(),
        "labels": torch.cat([labels for _, labels in found.values()]).numpy(),
        "is_val": np.array(hashed.splits) == "val",
        "groups": clusters,
        "class_names": np.array(data.class_names),
    }
