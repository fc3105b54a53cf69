"""Runner of an exported ONNX file on onnxruntime, Pillow and NumPy alone: predicts, and checks."""

import argparse
import base64
import contextlib
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.files.image_sources import ImageSource, read_image
from tltool.inference.export.onnx_contents import content_hashes
from tltool.inference.export.runner_crop import cropped

RUNNERS = ("onnxruntime", "numpy", "pillow")
"""The packages that decide the numbers."""

UNKNOWN = "unknown_score"
"""The output, and a golden image's entry, that says how likely an image is of none of the classes.
"""
SCORE_TOLERANCE = 0.01
"""The largest difference of it that is taken for rounding, as a share of it, or of 1 below that: it
is a sum of logarithms, of 1e-4 at the least."""

DEFAULT_THRESHOLD = 0.5
"""From which probability on an image has a class, where it may have several and the file has no
thresholds of its own."""

_SHOWN = 5  # changed contents that are named
_NEEDED = ("class_names", "objective", "decode", "resize", "contents", "tolerance", "versions")


@dataclass(frozen=True)
class ExportCheck:
    """What the replay of a file's golden images has shown.

    Attributes:
        differences: What is not as it was at the export.
        notes: The largest difference, and packages of another version.
    """

    differences: list[str]
    notes: list[str]

    @property
    def agrees(self) -> bool:
        """Whether the file is, and does, what it was and did at the export."""
        return not self.differences

    def lines(self) -> list[str]:
        """Return what to print."""
        verdict = "as exported" if self.agrees else "not as exported"
        return [verdict, *self.differences, *self.notes]


class OnnxModel:
    """An ONNX file that tltool has written.

    Args:
        path: The file.

    Attributes:
        facts: What the file says about itself.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If tltool has not written it, or its metadata is incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r}.")
        self.session = _session(self.path)
        self._texts = dict(self.session.get_modelmeta().custom_metadata_map)
        if "golden_images" not in self._texts:
            raise ValueError(f"{str(path)!r} was not written by `tltool export --to onnx`.")
        self.facts = _parsed(self._texts)
        missing = [name for name in _NEEDED if name not in self.facts]
        if missing:
            raise ValueError(
                f"{str(path)!r} has lost some of its metadata: {', '.join(missing)}. Export it "
                "again, or take the file as it was exported."
            )

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""
        names: list[str] = self.facts["class_names"]
        return names

    @property
    def is_regression(self) -> bool:
        """Whether the file predicts a number."""
        return bool(self.facts["objective"] == "regression")

    @property
    def unknown_threshold(self) -> float | None:
        """The score beyond which an image is called unknown; ``None`` where there is no score."""
        threshold: float | None = self.facts.get("unknown_threshold")
        return threshold

    def pixels(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return an image as the graph takes it: 8-bit pixels ``(H, W, C)``."""
        decoded = read_image(image, **self.facts["decode"])
        if self.facts["resize"] == "runner":
            decoded = cropped(decoded, self.facts["data_config"])
        return np.atleast_3d(np.asarray(decoded))

    def outputs(
        self, images: Iterable[ImageSource], *, batch_size: int = 32
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits and probabilities of images ``(N, num_classes)``, or values ``(N, 1)``.

        Args:
            images: See `run`.
            batch_size: See `run`.
        """
        logits, predicted, *_ = self.run(images, batch_size=batch_size)
        return logits, predicted

    def unknown_scores(
        self, images: Iterable[ImageSource], *, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return how likely each image is of none of the classes, ``(N,)``.

        Args:
            images: See `run`.
            batch_size: See `run`.

        Raises:
            ValueError: If the file does not know.
        """
        if self.unknown_threshold is None:
            raise ValueError(
                f"{str(self.path)!r} has no score of unknown inputs, for its checkpoint had none."
            )
        return self.run(images, batch_size=batch_size)[2]

    def run(
        self, images: Iterable[ImageSource], *, batch_size: int = 32
    ) -> list[NDArray[np.float32]]:
        """Return all outputs of the graph: logits, probabilities, and the score if there is one.

        Args:
            images: Paths, bytes of files, Pillow images, or arrays ``(H, W, C)``.
            batch_size: How many images pass at once, of those of one size behind each other.
        """
        found: list[Sequence[Any]] = []
        for _, same in groupby(map(self.pixels, images), key=np.shape):
            while batch := list(islice(same, batch_size)):
                found.append(self.session.run(None, {"images": np.stack(batch)}))
        return [np.concatenate(each) for each in zip(*found, strict=True)]

    def predict(
        self, images: Iterable[ImageSource], *, batch_size: int = 32
    ) -> list[dict[str, float]]:
        """Return the probabilities of each image by class, the most probable first.

        Of a regression there is one number, ``value``.
        """
        return self._named(self.outputs(images, batch_size=batch_size)[1])

    def describe(self, image: ImageSource) -> dict[str, Any]:
        """Return what the file says of an image, as plain data."""
        _, predicted, *scores = self.run([image])
        (found,) = self._named(predicted)
        said: dict[str, Any] = dict(found)
        if self.facts["objective"] == "multi_label":
            least = self.facts.get("thresholds") or [DEFAULT_THRESHOLD] * len(self.class_names)
            pairs = zip(self.class_names, least, strict=True)
            chosen = [name for name, threshold in pairs if found[name] >= np.float32(threshold)]
            said = {"classes": chosen, "all": found}
        elif not self.is_regression:
            said = {"class": next(iter(found)), "all": found}
        if self.unknown_threshold is not None:
            score = float(scores[0][0])
            said |= {UNKNOWN: score, "is_unknown": score > self.unknown_threshold}
        return said

    def _named(self, predicted: NDArray[np.float32]) -> list[dict[str, float]]:
        names = ["value"] if self.is_regression else self.class_names
        pairs = [zip(names, row, strict=True) for row in predicted.tolist()]
        return [dict(sorted(each, key=lambda pair: -pair[1])) for each in pairs]

    def verify(self) -> ExportCheck:
        """Replay the golden images, and name what is not as it was at the export."""
        golden, tolerance = self.facts["golden_images"], self.facts["tolerance"]
        differences, largest = self._changed_contents(), 0.0
        for each in golden:
            outputs = self.run([base64.b64decode(each["image"])])
            # Values of a regression have units, its logits have none.
            name, found = ("logits", outputs[0]) if self.is_regression else ("output", outputs[1])
            difference = float(np.abs(found[0] - floats_of(each[name])).max())
            largest = max(largest, difference)
            if not difference <= tolerance:  # Which NaN is not either.
                differences.append(f"golden image {each['name']}: off by {difference:.2g}")
            if UNKNOWN in each and not score_agrees(outputs[2], floats_of(each[UNKNOWN])):
                differences.append(f"golden image {each['name']}: another {UNKNOWN}")
        replayed = f"{len(golden)} golden images: off by {largest:.1e} at most"
        return ExportCheck(differences, [replayed, *self._other_versions()])

    def _changed_contents(self) -> list[str]:
        texts = {name: text for name, text in self._texts.items() if name != "contents"}
        was, now = self.facts["contents"], content_hashes(self.path.read_bytes(), texts)
        names = [name for name in was if was[name] != now.get(name)]
        names += [name for name in now if name not in was]
        if len(names) > _SHOWN:
            names[_SHOWN:] = [f"{len(names) - _SHOWN} more"]
        return [f"changed: {name}" for name in names]

    def _other_versions(self) -> list[str]:
        was, now = self.facts["versions"], package_versions(RUNNERS)
        return [
            f"{name} {was[name]} at the export, {now[name]} here"
            for name in RUNNERS
            if was[name] != now[name]
        ]


def score_agrees(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Return whether scores of unknown inputs are the same within `SCORE_TOLERANCE`."""
    room = SCORE_TOLERANCE * np.maximum(np.abs(expected), 1)
    return bool((np.abs(found - expected) <= room).all())  # Which NaN is not.


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of installed packages."""
    return {name: importlib.metadata.version(name) for name in names}


def floats_as_text(values: NDArray[Any]) -> str:
    """Return numbers as text that keeps all bits.

    Example:
        >>> floats_of(floats_as_text(np.array([0.5, 0.25])))
        array([0.5 , 0.25], dtype=float32)
    """
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def floats_of(text: str) -> NDArray[np.float32]:
    """Return the numbers of `floats_as_text`."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def main(argv: Sequence[str] | None = None) -> int:
    """Predict the images of a command line, a line of JSON each; without any, check the file."""
    parser = argparse.ArgumentParser(description="Predict images, or check the file.")
    parser.add_argument("file", help="The .onnx file.")
    parser.add_argument("images", nargs="*", help="Image files; none to check the file.")
    given = parser.parse_args(argv)
    try:
        model = OnnxModel(given.file)
        if not given.images:
            check = model.verify()
            print("\n".join(check.lines()))
            return 0 if check.agrees else 1
        for path in given.images:
            print(json.dumps({"path": path, **model.describe(path)}))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what texts of metadata say; what others have written there need not be JSON."""
    facts: dict[str, Any] = {}
    for name, text in texts.items():
        with contextlib.suppress(ValueError):
            facts[name] = json.loads(text)
    return facts


def _session(path: Path) -> Any:
    runtime = importlib.import_module("onnxruntime")
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    try:
        return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (
        *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
        *(state.NoSuchFile, state.NotImplemented, state.RuntimeException),
    ) as error:
        raise ValueError(f"onnxruntime cannot read {str(path)!r}: {error}") from error
