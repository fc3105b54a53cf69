"""How often the shortcut audit finds planted shortcuts, and is wrong on clean halves."""

import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from results import Row, kept

from tltool.data.files.decoding import decode_image, read_content
from tltool.diagnostics.checks.image_traces import Traces, image_traces
from tltool.diagnostics.checks.shortcuts import EDGE, find_shortcuts

SETS = ("hymenoptera", "brain_mri", "digits", "fashion")
CLEAN_DRAWS, PLANTED_DRAWS = 100, 5
MOST_IMAGES = 200  # of a class


def measure_shortcuts(sets: Path, results: Path) -> None:
    """Measure what is missing.

    Args:
        sets: Holds the images of all sets.
        results: Where results are kept.
    """
    for draw in range(CLEAN_DRAWS):
        key = {"what": "clean halves", "draw": draw}
        kept(results, key, lambda draw=draw: clean_halves(sets, draw))  # type: ignore[misc]
    for name in SETS[:2]:
        for kind in PLANTED:
            for draw in range(PLANTED_DRAWS):
                key = {"what": "planted", "set": name, "kind": kind, "draw": draw}
                kept(results, key, lambda n=name, k=kind, d=draw: planted(sets / n, k, d))  # type: ignore[misc]


def clean_halves(sets: Path, draw: int) -> Row:
    """Audit two random halves of the images of one class; return what was found."""
    name = SETS[draw % len(SETS)]
    folders = sorted((sets / name / "train").iterdir())
    folder = folders[draw // len(SETS) % len(folders)]
    files = sorted(folder.iterdir())[:MOST_IMAGES]
    return {"set": name, "found": _found([_traces_of(file) for file in files], draw)}


def planted(folder: Path, kind: str, draw: int) -> Row:
    """Audit halves of which one is saved in another way; return what was found."""
    files = sorted(sorted((folder / "train").iterdir())[0].iterdir())[:MOST_IMAGES]
    halves = _halves(len(files), draw)
    save = PLANTED[kind]
    traces = []
    for file, half in zip(files, halves.tolist(), strict=True):
        content = (save if half else _saved)(Image.open(file).convert("RGB"))
        image = decode_image(file, size=EDGE, content=content)
        traces.append(image_traces(image, content))
    return {"found": _found(traces, draw)}


def _saved(image: Image.Image, quality: int = 90) -> bytes:
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=quality)
    return content.getvalue()


def _resized(image: Image.Image) -> bytes:
    return _saved(image.resize((round(0.9 * image.width), round(0.9 * image.height))))


def _bordered(image: Image.Image) -> bytes:
    width = max(round(0.02 * min(image.size)), 2)
    whole = Image.new("RGB", image.size, (128, 128, 128))
    inner = image.resize((image.width - 2 * width, image.height - 2 * width))
    whole.paste(inner, (width, width))
    return _saved(whole)


PLANTED: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG quality 80, not 90": lambda image: _saved(image, 80),
    "nine tenths of the size": _resized,
    "a gray border of 2 %": _bordered,
}


def _traces_of(file: Path) -> Traces:
    content = read_content(file)
    return image_traces(decode_image(file, size=EDGE, content=content), content)


def _halves(number: int, draw: int) -> torch.Tensor:
    return torch.randperm(number, generator=torch.Generator().manual_seed(draw)) % 2


def _found(traces: Sequence[Traces], draw: int) -> list[str]:
    columns: dict[str, list[list[float]]] = defaultdict(list)
    for each in traces:
        for kind, row in each.items():
            columns[kind].append(row)
    arrays: dict[str, NDArray[np.float64]] = {
        kind: np.array(rows) for kind, rows in columns.items()
    }
    found = find_shortcuts(arrays, _halves(len(traces), draw), 2)
    return [each.name for each in found if each.is_found]
