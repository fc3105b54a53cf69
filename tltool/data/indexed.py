"""Photos that have a number instead of a file: data sets in memory or behind another library."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from PIL import Image

from tltool.data.samples import Samples, relabel


class IndexedPhotos(Protocol):
    """What gives a photo and its label by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class IndexedDecoder:
    """Turn names such as ``CIFAR10/train/000123`` into photos, as `decode_image` does with paths.

    Args:
        sources: What holds the photos, by the name in front of the number.

    Example:
        >>> decode = IndexedDecoder({"dots": [(Image.new("L", (2, 2), 7), 0)]})
        >>> decode("dots/000000", mode="RGB").getpixel((0, 0))
        (7, 7, 7)
    """

    def __init__(self, sources: Mapping[str, IndexedPhotos]) -> None:
        self.sources = sources

    def __call__(
        self, path: str, *, mode: Literal["RGB", "L"] = "RGB", size: int | None = None
    ) -> Image.Image:
        """Return the photo of a name; ``size`` makes no difference, all is decoded."""
        source, _, number = path.rpartition("/")
        image: Image.Image = self.sources[source][int(number)][0]
        return image.convert(mode)


def number_photos(
    source: str, labels: Sequence[int], found: Sequence[str], class_names: Sequence[str]
) -> Samples:
    """Return the photos of a source, with labels as indices into ``class_names``.

    Args:
        source: The name in front of the numbers.
        labels: Label of each photo in the source.
        found: Names of the labels of the source.
        class_names: The classes in the order of the labels that are wanted.

    Example:
        >>> samples = number_photos("dots", [0, 1], ["black", "white"], ["white", "black"])
        >>> samples.paths, samples.labels
        (['dots/000000', 'dots/000001'], [1, 0])
    """
    names = [f"{source}/{number:06}" for number in range(len(labels))]
    return Samples(names, relabel([found[label] for label in labels], class_names))
