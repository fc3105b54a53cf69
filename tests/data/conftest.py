import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def data_config() -> dict[str, object]:
    return {
        "input_size": (3, 32, 32),
        "interpolation": "bicubic",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.25, 0.3),
        "crop_pct": 0.875,
        "crop_mode": "center",
    }


@pytest.fixture
def noise() -> Callable[..., Image.Image]:
    def make(seed: int = 0, width: int = 48, height: int = 40) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return make


@pytest.fixture
def images(tmp_path: Path, noise: Callable[..., Image.Image]) -> Callable[..., Path]:
    """Write noise images: ``images({"ants": 3, "bees": 4})``, class folders below ``below``."""

    def make(counts: dict[str, int], below: str = "", suffix: str = ".png") -> Path:
        root = tmp_path / "images"
        for number, (name, count) in enumerate(counts.items()):
            folder = root / below / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                noise(1000 * number + index).save(folder / f"{index:03}{suffix}")
        return root

    return make


@pytest.fixture
def truncated() -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        pixels = np.frombuffer(os.urandom(200 * 200 * 3), dtype=np.uint8).reshape(200, 200, 3)
        Image.fromarray(pixels).save(path)
        path.write_bytes(path.read_bytes()[:5000])
        return path

    return make
