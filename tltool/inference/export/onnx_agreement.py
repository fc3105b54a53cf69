"""Agreement of an ONNX file with its checkpoint, on real or generated images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tltool.data.files.image_sources import ImageSource
from tltool.inference.export.onnx_runner import UNKNOWN, OnnxModel, score_agrees
from tltool.inference.predictor import Predictor


class OnnxAgreement(NamedTuple):
    """How far a file is from its checkpoint.

    Attributes:
        difference: The largest one of a probability; of a regression, of a standardized value.
        num_changed: Images whose most probable class is another; ``None`` of a regression.
        num_images: Images that were compared.
    """

    difference: float
    num_changed: int | None
    num_images: int

    def __str__(self) -> str:
        changed = "" if self.num_changed is None else f", {self.num_changed} changed top-1"
        return f"largest difference {self.difference:.1e}{changed}, on {self.num_images} images"


def compare_onnx(
    predictor: Predictor, model: OnnxModel, images: Sequence[ImageSource]
) -> OnnxAgreement:
    """Compare the predictions of a checkpoint and of its file."""
    index = 0 if model.is_regression else 1  # Values of a regression have units.
    expected = predicted_by(predictor, images)[index]
    found = model.outputs(images)[index]
    changed = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    return OnnxAgreement(
        difference=float(np.abs(found - expected).max()),
        num_changed=None if model.is_regression else changed,
        num_images=len(images),
    )


def check_scores(
    predictor: Predictor, model: OnnxModel, images: Sequence[ImageSource]
) -> list[str]:
    """Return a line on the score of unknown inputs, if the file has one.

    Raises:
        ValueError: If it is another than the checkpoint's.
    """
    trust = predictor.trust
    if trust is None:
        return []
    found, expected = model.unknown_scores(images), scores_of(predictor, images)
    difference = float(np.abs(found - expected).max())
    if not score_agrees(found, expected):
        raise ValueError(
            f"onnxruntime gives another {UNKNOWN} than the checkpoint, by {difference:.2g}. "
            "Nothing was written: choose another format, or fit with --calibrate false."
        )
    return [
        f"Its output {UNKNOWN} is off by {difference:.1e} at most, and beyond "
        f"{trust.threshold:.3g} for images of none of the classes; prediction sets stay with the "
        "checkpoint."
    ]


@torch.inference_mode()
def predicted_by(predictor: Predictor, images: Sequence[ImageSource]) -> tuple[Any, Any]:
    """Return the logits of a checkpoint, and its probabilities or values."""
    logits = predictor.logits(images)
    predicted = predictor.task.predictions(logits / predictor.temperature)
    return logits.numpy(), predicted.numpy()


def scores_of(predictor: Predictor, images: Sequence[ImageSource]) -> NDArray[np.float32]:
    """Return the scores of unknown inputs of a checkpoint that has them."""
    found = predictor.predict(list(images))
    return np.array([each.unknown_score for each in found], dtype=np.float32)
