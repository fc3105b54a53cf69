"""ONNX file: takes 8-bit images, and was compared with its checkpoint before it was written."""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from tltool._atomic_write import whole_file
from tltool.data.files.image_sources import ImageSource, read_image
from tltool.inference.export.exported_model import exported_model
from tltool.inference.export.graph_preprocessing import GraphPreprocessing
from tltool.inference.export.onnx_network import INPUT, ImageNetwork, onnx_model
from tltool.inference.predictor import Predictor

TOLERANCE = 1e-3
"""The largest difference of a probability that is taken for rounding."""


def write_onnx(
    predictor: Predictor,
    output: Path,
    *,
    images: Sequence[ImageSource],
    tolerance: float = TOLERANCE,
) -> list[str]:
    """Write an ONNX file that takes 8-bit images, and compare it with the checkpoint.

    Args:
        predictor: The checkpoint.
        output: The file.
        images: Images to compare on.
        tolerance: The largest difference of a probability that is no error.

    Returns:
        Lines that say how far it is from the checkpoint.

    Raises:
        ModuleNotFoundError: If a package is missing.
        ValueError: If torch cannot export a layer, or the file differs more; then there is none.
    """
    check_packages()
    config = predictor.task.data_config
    network = ImageNetwork(
        GraphPreprocessing(config), exported_model(predictor.task), nn.Softmax(dim=-1)
    ).eval()
    content = onnx_model(network, config, "probabilities").SerializeToString()
    session = importlib.import_module("onnxruntime").InferenceSession(content)
    expected = predictor.logits(images).softmax(dim=-1).numpy()
    found = []
    for image in images:
        decoded = np.asarray(read_image(image, **predictor.transform.decode_options))
        pixels = decoded.reshape(1, *decoded.shape[:2], -1)
        found.append(session.run(["probabilities"], {INPUT: pixels})[0][0])
    difference = float(np.abs(np.stack(found) - expected).max())
    changed = int((np.stack(found).argmax(1) != expected.argmax(1)).sum())
    said = f"largest difference of a probability {difference:.1e}, {changed} changed top-1"
    if difference > tolerance:
        raise ValueError(f"onnxruntime disagrees with the checkpoint: {said}.")
    with whole_file(output) as partial:
        partial.write_bytes(content)
    return [f"onnxruntime beside the checkpoint, on {len(images)} images: {said}.", str(output)]


def check_packages() -> None:
    """Raise unless what ONNX needs is installed.

    Raises:
        ModuleNotFoundError: If a package is missing.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"ONNX needs {name}, which is not installed. Type: pip install 'tltool[export]'"
            )
