"""ONNX file: takes 8-bit images, was compared with its checkpoint, and can test itself."""

import base64
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tltool._atomic_write import whole_file, write_whole
from tltool.data.files.image_sources import ImageSource
from tltool.inference.export.exported_model import exported_model
from tltool.inference.export.facts import export_facts
from tltool.inference.export.golden_images import golden_images
from tltool.inference.export.graph_preprocessing import GraphPreprocessing, Normalization
from tltool.inference.export.onnx_agreement import (
    check_scores,
    compare_onnx,
    predicted_by,
    scores_of,
)
from tltool.inference.export.onnx_contents import content_hashes
from tltool.inference.export.onnx_network import ImageNetwork, onnx_model
from tltool.inference.export.onnx_runner import (
    RUNNERS,
    UNKNOWN,
    OnnxModel,
    floats_as_text,
    package_versions,
)
from tltool.inference.export.output_layer import OutputLayer
from tltool.inference.export.runner_file import MARK, runner_source
from tltool.inference.export.unknown_layer import UnknownLayer
from tltool.inference.predictor import Predictor

TOLERANCE = 1e-3
"""The largest difference of a probability that is taken for rounding."""

_LARGEST = 2**31 - 2**20  # Bytes of a file of protocol buffers, with room for its metadata
_PACKAGES = ("torch", "timm", *RUNNERS)


def write_onnx(
    predictor: Predictor,
    output: Path,
    *,
    images: Sequence[ImageSource] | None = None,
    tolerance: float = TOLERANCE,
    resize: Literal["graph", "runner"] = "graph",
    fold_norms: bool = False,
) -> list[str]:
    """Write an ONNX file that takes 8-bit images, and a runner beside it that needs no torch.

    The file takes its place only after it has agreed with the checkpoint. It holds generated golden
    images with what the checkpoint predicts of them, for `verify_export`.

    Args:
        predictor: The checkpoint.
        output: The file.
        images: Images to compare on; ``None`` for generated ones.
        tolerance: The largest difference of a probability that is no error; of a regression, of a
            standardized value.
        resize: Let the graph resize and crop; or the runner, and the graph takes images of the size
            of the crop. Both give the pixels of training.
        fold_norms: Fold batch norms into the layers in front.

    Returns:
        Lines that say how far it is from the checkpoint.

    Raises:
        ModuleNotFoundError: If a package is missing.
        ValueError: If torch cannot export a layer, or the file differs more; then there is none.
    """
    check_packages()
    runner = output.with_name(f"{output.stem}_runner.py")
    _check_runner(runner)
    golden = golden_images()
    sources = list(images or golden.values())
    exported = exported_model(predictor.task, fold_norms=fold_norms)
    config, outputs = predictor.task.data_config, OutputLayer(predictor)
    preprocessing = (GraphPreprocessing if resize == "graph" else Normalization)(config)
    trust = predictor.trust
    unknown = None if trust is None else UnknownLayer(trust.unknown)
    network = ImageNetwork(preprocessing, exported, outputs, unknown).eval()
    _check_size(network)
    model = onnx_model(network, config)
    facts = _facts(predictor, golden, tolerance=tolerance, resize=resize)
    with whole_file(output) as partial:
        partial.write_bytes(_with_facts(model, facts))
        written = OnnxModel(partial)
        found = compare_onnx(predictor, written, sources)
        if not found.difference <= tolerance:  # Which NaN is not either.
            raise ValueError(
                f"onnxruntime gives other predictions than the checkpoint: {found}; {tolerance:g} "
                "is allowed. Nothing was written. Set a larger --tolerance if you can bear it."
            )
        scored = check_scores(predictor, written, sources)
    write_whole(runner, runner_source())
    return [
        *exported.changes,
        f"onnxruntime beside the checkpoint: {found}{'' if images else ', generated ones'}.",
        *scored,
        f"It runs without torch by {runner.name}, which stands beside it.",
    ]


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


def _facts(
    predictor: Predictor, golden: Mapping[str, bytes], *, tolerance: float, resize: str
) -> dict[str, Any]:
    """Return what a file says about itself, as plain data."""
    logits, predicted = predicted_by(predictor, list(golden.values()))
    trust = predictor.trust
    known = [dict[str, str]()] * len(golden)
    if trust is not None:
        scores = scores_of(predictor, list(golden.values()))
        known = [{UNKNOWN: floats_as_text(score)} for score in scores]
    return {
        **export_facts(predictor),
        **({} if trust is None else {"unknown_threshold": trust.threshold}),
        "temperature": predictor.temperature,
        "decode": predictor.transform.decode_options,
        "resize": resize,
        "tolerance": tolerance,
        "versions": package_versions(_PACKAGES),
        "golden_images": [
            {
                "name": name,
                "image": base64.b64encode(content).decode(),
                "logits": floats_as_text(logits[number]),
                "output": floats_as_text(predicted[number]),
                **known[number],
            }
            for number, (name, content) in enumerate(golden.items())
        ],
    }


def _with_facts(model: Any, facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file with what it says about itself, and hashes of all that."""
    texts = {name: json.dumps(value) for name, value in facts.items()}
    texts["contents"] = json.dumps(content_hashes(model.SerializeToString(), texts))
    for name, text in texts.items():
        model.metadata_props.add(key=name, value=text)
    content: bytes = model.SerializeToString()
    return content


def _check_size(network: ImageNetwork) -> None:
    size = sum(each.nbytes for each in network.state_dict().values())
    if size > _LARGEST:
        raise ValueError(
            f"An ONNX file holds up to 2 GB, and this network has {size / 1e9:.1f} GB of weights. "
            "Choose another format, such as --to torch-export."
        )


def _check_runner(runner: Path) -> None:
    if runner.exists() and not runner.read_text(encoding="utf-8").startswith(MARK):
        raise FileExistsError(f"{str(runner)!r} exists, and is no runner. Name another --output.")
