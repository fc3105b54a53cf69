"""Dataset of images: names and labels in, tensors out; and how tensors become a batch."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tltool.data.files.decoding import decode_image, read_content
from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.files.pixel_conversion import to_eight_bits
from tltool.data.files.value_range import ValueRange
from tltool.data.loading.in_memory import InMemoryDecoder
from tltool.data.loading.samples import Samples
from tltool.data.loading.shuffled_sampler import Draw
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.normalization import PixelStatistics, measure_pixels

Decoder = Callable[..., Image.Image]
Collate = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]


class ImageDataset(Dataset[dict[str, Any]]):
    """Decode and transform one image at a time.

    Args:
        samples: The images.
        transform: From image to tensor.
        decode: From a path, a mode and a size to an image; see `decode_with`.

    An item is a dict of ``image``, ``path``, and ``label`` where labels are known. It is asked for
    by an index, or by a `Draw` of `ShuffledSampler`, whose seed then decides the augmentation.
    """

    def __init__(
        self, samples: Samples, transform: ImageTransform, *, decode: Decoder = decode_image
    ) -> None:
        self.samples = samples
        self.transform = transform
        self.decode = decode

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | Draw) -> dict[str, Any]:
        index = key.position if isinstance(key, Draw) else key
        image = self._transform(self._decoded(index), key.seed if isinstance(key, Draw) else None)
        item: dict[str, Any] = {"image": image, "path": self.samples.paths[index]}
        if self.samples.labels is not None:
            item["label"] = self.samples.labels[index]
        if isinstance(key, Draw):
            item["seed"] = key.seed
        return item

    def file(self, index: int) -> str | None:
        """Return the file of an image, or ``None`` where the images lie in something else."""
        return self.samples.paths[index] if self.decode is decode_image else None

    def content(self, index: int) -> bytes:
        """Return what decides an image: the bytes of its file, or size and pixels."""
        if self.decode is decode_image:
            return read_content(self.samples.paths[index])
        image = self._decoded(index)
        return f"{image.mode} {image.size} ".encode() + image.tobytes()

    def image(self, index: int, content: bytes, *, seed: int | None = None) -> Tensor:
        """Return the tensor of an image whose content was read already.

        Args:
            index: The number of the image.
            content: What `content` returned.
            seed: Decides the augmentation; ``None`` for torch's own state.
        """
        image = self._decoded(index, content if self.decode is decode_image else None)
        return self._transform(image, seed)

    def pixel_statistics(self, *, show_progress: bool = False) -> PixelStatistics:
        """Return mean and standard deviation of all images before the normalization."""
        pixels = map_in_threads(
            lambda index: self.transform.pixels(self._decoded(index)),
            range(len(self)),
            description="Measuring the mean of the images",
            show_progress=show_progress,
        )
        return measure_pixels(pixels)

    def _decoded(self, index: int, content: bytes | None = None) -> Image.Image:
        known: dict[str, Any] = {} if content is None else {"content": content}
        options = self.transform.decode_options
        return decode_with(self.decode, self.samples.paths[index], **options, **known)

    def _transform(self, image: Image.Image, seed: int | None) -> Tensor:
        if seed is None or not self.transform.is_random:
            return self.transform(image)
        with torch.random.fork_rng(devices=[]):
            # Not `torch.manual_seed`, which would seed the GPU's generator too.
            torch.default_generator.manual_seed(seed)
            return self.transform(image)


def decode_with(
    decode: Decoder,
    path: str,
    *,
    mode: Literal["RGB", "L"] = "RGB",
    size: int | None = None,
    value_range: ValueRange | None = None,
    **known: Any,
) -> Image.Image:
    """Return the image that a decoder makes of a path as 8-bit ``mode``, see `to_eight_bits`.

    Args:
        decode: `decode_image`, an `InMemoryDecoder`, or one of the user's, which takes ``mode`` and
            ``size``, and may return an image of any mode.
        path: What the decoder knows the image by.
        mode: ``"RGB"``, or ``"L"`` for one channel.
        size: The shortest edge that will be needed.
        value_range: The values of black and of white.
        **known: What else `decode_image` is told.

    Example:
        >>> raw = lambda path, *, mode, size: Image.new("I", (1, 1), 4095)
        >>> decode_with(raw, "a.raw", value_range=(0, 4095)).getpixel((0, 0))
        (255, 255, 255)
    """
    if decode is decode_image or isinstance(decode, InMemoryDecoder):
        return decode(path, mode=mode, size=size, value_range=value_range, **known)
    return to_eight_bits(decode(path, mode=mode, size=size), mode=mode, value_range=value_range)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch: ``images`` (B, C, H, W), ``paths``, and ``labels`` (B,) where they are known.

    Of no items, a batch with nothing but empty ``paths``: a rank's share of what is too little.

    Example:
        >>> batch = collate([{"image": torch.zeros(3, 2, 2), "path": "a.jpg", "label": 1}])
        >>> batch["images"].shape, batch["labels"], batch["paths"]
        (torch.Size([1, 3, 2, 2]), tensor([1]), ['a.jpg'])
    """
    if not items:
        return {"paths": []}
    batch: dict[str, Any] = {
        "images": torch.stack([item["image"] for item in items]),
        "paths": [item["path"] for item in items],
    }
    if "label" in items[0]:
        batch["labels"] = torch.tensor([item["label"] for item in items])
    return batch
