"""Fashion-MNIST (Xiao et al., 2017, MIT license) from Debian's `dataset-fashion-mnist`."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)


def images_of(source: str, folder: Path = FOLDER) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield file name, class and 28 x 28 pixels of each image, in order.

    Args:
        source: ``train`` (60,000) or ``t10k`` (10,000).
        folder: Where the package's files lie.

    Raises:
        FileNotFoundError: If they do not lie there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no {str(folder)!r}. Type: apt-get install dataset-fashion-mnist"
        )
    pixels = gzip.decompress((folder / f"{source}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{source}-labels-idx1-ubyte.gz").read_bytes())[8:]
    for index, label in enumerate(labels):
        image = Image.frombytes("L", (28, 28), pixels[index * 784 : (index + 1) * 784])
        yield f"{index:05d}.png", CLASSES[label], image
