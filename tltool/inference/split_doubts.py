"""What speaks against the images that a run learns from and is measured on: labels, shortcuts."""

from typing import NamedTuple

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.diagnostics.checks.shortcuts import audit_shortcuts
from tltool.evaluation.label_errors import find_label_errors
from tltool.evaluation.paired_differences import number_groups


class Doubts(NamedTuple):
    """What speaks against images.

    Attributes:
        sentences: In words.
        counts: How many ``label_errors`` and ``shortcuts`` there may be.
    """

    sentences: list[str]
    counts: dict[str, int]


def find_doubts(data: ImageDataModule, split: SplitName, features: Tensor) -> Doubts:
    """Return what is found of labels and shortcuts.

    Args:
        data: The images.
        split: Those that measure, beside the training images.
        features: Of the backbone before training, of the training images and then of these.
    """
    parts = [data.samples("train"), data.samples(split)]
    labels = [label for part in parts for label in part.labels or ()]
    paths = [path for part in parts for path in part.paths]
    given = [group for part in parts for group in part.groups or ()]
    groups = torch.tensor(number_groups(given if len(given) == len(paths) else paths))
    errors = find_label_errors(features, torch.tensor(labels), data.num_classes, groups)
    audit, num_shortcuts = audit_shortcuts(data, paths, labels, groups.numpy())
    remedy = " `tltool doctor --labels suspects.csv` shows them." if len(errors) else ""
    return Doubts(
        [
            f"Labels: {errors.describe(len(labels))}.{remedy}",
            f"Shortcuts: {audit.found.rstrip('.')}. {audit.remedy}".strip(),
        ],
        {"label_errors": len(errors), "shortcuts": num_shortcuts},
    )
