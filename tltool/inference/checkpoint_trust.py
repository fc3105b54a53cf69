"""What a checkpoint knows of its limits: unknown inputs and prediction sets, fitted after a run."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tltool._progress import with_progress
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.samples import Splits
from tltool.evaluation.prediction_sets import (
    ConformalScores,
    SetCounts,
    prediction_sets,
    score_quantile,
)
from tltool.evaluation.unknown_inputs import UnknownScore, fit_feature_distance, fit_unknown_score
from tltool.features.extraction import extract_features
from tltool.inference.head_features import head_features
from tltool.training.calibration import TRUST
from tltool.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import image_marks

KNOWN_SHARE = 0.95
"""Share of the images of the known classes that are not called unknown."""
USUAL_COVERAGE = 0.9
MOST_IMAGES = 5000
"""Training images whose features are looked at, drawn at random."""
LEAST_IMAGES = 20
"""Fewer images that did not train set no threshold: one of them would be five percent."""


@dataclass(frozen=True)
class Trust:
    """What a checkpoint knows of its limits.

    Attributes:
        unknown: How likely an input is of none of the classes.
        threshold: From which score on it is called unknown.
        scores: Of the images that did not train, for prediction sets.
        split: Which images these are.
        has_chosen: Whether they chose the best epoch too, so that it does better on them than on
            others, and all that is promised from them is slightly optimistic.
        images: A number for each of them, see `image_marks`.
        set_size: Mean number of classes in their sets at a coverage of 0.9.
    """

    unknown: UnknownScore
    threshold: float
    scores: ConformalScores
    split: str
    has_chosen: bool
    images: Tensor
    set_size: float

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any]) -> "Trust | None":
        """Return what a checkpoint keeps, or ``None``."""
        kept = checkpoint.get(TRUST)
        if kept is None:
            return None
        unknown = UnknownScore.from_state_dict(kept["unknown"])
        return cls(**{**kept, "unknown": unknown, "scores": ConformalScores(**kept["scores"])})

    def state_dict(self) -> dict[str, Any]:
        """Return it as tensors and plain data."""
        parts = {"unknown": self.unknown.state_dict(), "scores": vars(self.scores).copy()}
        return {**vars(self), **parts}

    def judge(self, features: Tensor, probabilities: Tensor) -> list[dict[str, Any]]:
        """Return for each image ``unknown_score`` and ``is_unknown``.

        Args:
            features: What the head got, ``(B, D)``.
            probabilities: ``(B, num_classes)``.
        """
        scores = self.unknown.score(features.float().cpu(), probabilities)
        pairs = zip(scores.tolist(), self.is_unknown(scores).tolist(), strict=True)
        return [{"unknown_score": score, "is_unknown": mark} for score, mark in pairs]

    def is_unknown(self, scores: Tensor) -> Tensor:
        """Return whether each score is beyond the threshold."""
        return scores > self.threshold

    def describe(self) -> str:
        """Return what it rests on, in one sentence."""
        chosen = ", which chose the checkpoint too: slightly optimistic" if self.has_chosen else ""
        return f"{len(self.scores.labels):,} {self.split} images{chosen}"


def read_trust(path: str | Path) -> Trust | None:
    """Return what a checkpoint keeps, or ``None``.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    return Trust.of_checkpoint(read_checkpoint(path))


def calibration_split(data: ImageDataModule) -> SplitName | None:
    """Return the images that say what a checkpoint is worth: those that chose nothing, if any.

    Where a tuning split chose, these are the validation images of the data, which `Splits` calls
    ``test``. A test split of the data's own is left alone. ``None`` where they are too few, or
    where an image has not one class alone.
    """
    if data.objective != "single_label":
        return None
    split: SplitName = "test" if data.splits.has_tuning else "val"
    samples = data.splits.by_name().get(split)
    return split if samples is not None and len(samples) >= LEAST_IMAGES else None


def fit_trust(
    path: str | Path,
    data: ImageDataModule,
    *,
    device: str | torch.device = "cpu",
    train_features: Tensor | None = None,
    features: Tensor | None = None,
    has_chosen: bool = True,
) -> Trust:
    """Fit what a checkpoint knows of its limits, and keep it in the file, whole or not at all.

    Args:
        path: The checkpoint, in its last state: of other weights all this would be wrong.
        data: The images of its run.
        device: Where to compute.
        train_features: Of the training images that `drawn_rows` names, ``(n, D)``, where they are
            known.
        features: Of the images of `calibration_split`, in order, where they are known.
        has_chosen: Whether a choice was made on the validation images.

    Raises:
        ValueError: If too few images did not train, see `calibration_split`.
    """
    split = calibration_split(data)
    if split is None:
        raise ValueError(
            f"{data.place} has fewer than {LEAST_IMAGES} images that did not train, and so many "
            "set the limits. Set a larger --data.val_fraction, or leave it out."
        )
    task = ImageTask.load_from_checkpoint(path).to(device)
    distance = fit_feature_distance(*_train_features(task, data, train_features))
    labels = torch.tensor(data.samples(split).labels)
    probabilities, rows = _predictions(task, data, split, features)
    unknown = fit_unknown_score(distance, rows, probabilities)
    scores = unknown.score(rows, probabilities)
    conformal = ConformalScores.of(probabilities, labels)
    thresholds = conformal.thresholds(USUAL_COVERAGE, data.num_classes)
    trust = Trust(
        unknown,
        score_quantile(scores, KNOWN_SHARE),
        conformal,
        split,
        has_chosen and split == "val",
        image_marks(data.samples(split)),
        SetCounts.of(prediction_sets(probabilities, thresholds), labels).size,
    )
    checkpoint = read_checkpoint(path)
    checkpoint[TRUST] = trust.state_dict()
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return trust


def drawn_rows(data: ImageDataModule) -> Sequence[int]:
    """Return the numbers of the training images whose features are looked at, in order."""
    number = len(data.samples("train"))
    if number <= MOST_IMAGES:
        return range(number)
    drawn = np.random.default_rng(0).choice(number, MOST_IMAGES, replace=False)
    return sorted(drawn.tolist())


def _predictions(
    task: ImageTask, data: ImageDataModule, split: SplitName, known: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return probabilities ``(N, num_classes)`` and features ``(N, D)`` of a split."""
    if known is not None:
        batch = {"features": known.float().to(task.device), "paths": []}
        with torch.inference_mode():
            return task.predict_step(batch, 0)["probabilities"], known.float().cpu()
    loader = data.evaluation_dataloader(split)
    parts = []
    with head_features(task) as features, torch.inference_mode():
        for batch in with_progress(loader, f"{split} images", total=len(loader)):
            batch["images"] = batch["images"].to(task.device, next(task.parameters()).dtype)
            found = task.predict_step(batch, 0)["probabilities"]
            parts.append((found, features.take()))
    probabilities, rows = (torch.cat(each) for each in zip(*parts, strict=True))
    return probabilities, rows


def _train_features(
    task: ImageTask, data: ImageDataModule, known: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return features ``(n, D)`` and labels ``(n,)`` of training images, or of some of many."""
    samples = data.samples("train").subset(drawn_rows(data))
    if known is not None:
        return known.float(), torch.tensor(samples.labels)
    smaller = copy.copy(data)
    smaller.splits = Splits(samples)
    loader = smaller.evaluation_dataloader("train")
    return extract_features(task.backbone, loader, description="train images", total=len(loader))
