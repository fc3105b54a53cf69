"""How much memory the feature cache needs per image, at its peak.

    python scripts/benchmark/cache_memory.py --num_images 2000 20000

Images of noise are computed with a small backbone by processes of their own, one for each number of
images; a row is as wide as that of EfficientNet-Lite0. ``RssAnon`` is the memory that cannot be
dropped and read from disk again: neither mapped features nor mapped code count.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.features.cache import cached_features

WIDTH = 1280
CONFIG = {
    "input_size": [3, 16, 16],
    "interpolation": "bicubic",
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "crop_pct": 1.0,
    "crop_mode": "center",
}


class Wide(nn.Module):
    """A network that is quick, with rows as wide as those of a real one."""

    num_features = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 16 * 16, WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``(B, WIDTH)``."""
        return self.layer(images.flatten(1))


def write_images(folder: Path, count: int) -> list[str]:
    """Write images of 16 x 16 pixels of noise."""
    generator = torch.Generator().manual_seed(0)
    paths = []
    for number in range(count):
        path = folder / f"{number:07}.ppm"
        pixels = torch.randint(256, (768,), generator=generator, dtype=torch.uint8)
        path.write_bytes(b"P6 16 16 255\n" + pixels.numpy().tobytes())
        paths.append(str(path))
    return paths


class Peak(threading.Thread):
    """Watch ``RssAnon`` of this process, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes = self.bytes = anonymous_bytes()

    def run(self) -> None:
        """Look every 5 milliseconds."""
        while True:
            self.bytes = max(self.bytes, anonymous_bytes())
            time.sleep(0.005)


def anonymous_bytes() -> int:
    """Return ``RssAnon``."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


def measure(num_images: int) -> None:
    """Compute features twice, cold and warm, read all in batches, and print the peak."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), num_images)
        peak = Peak()
        peak.start()
        for _ in range(2):
            data = ImageDataset(Samples(paths, [0] * num_images), ImageTransform(CONFIG))
            features = cached_features(Wide(), data, cache=Path(folder) / "cache", batch_size=64)
            for start in range(0, num_images, 64):
                features.select(range(start, min(start + 64, num_images)))
        print(peak.bytes)


def main() -> None:
    """Measure each number of images in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_images", type=int, nargs=2, default=[2000, 20000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    logging.disable()
    if chosen.measure is not None:
        measure(chosen.measure)
        return
    peaks = []
    for count in chosen.num_images:
        command = [sys.executable, __file__, "--measure", str(count)]
        peaks.append(int(subprocess.check_output(command, env=os.environ, text=True)))
        print(f"{count:,} images: RssAnon {peaks[-1] / 1e6:.1f} MB at its peak")
    few, many = chosen.num_images
    print(f"{(peaks[1] - peaks[0]) / (many - few):.0f} bytes for each further image")


if __name__ == "__main__":
    main()
