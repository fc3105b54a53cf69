"""Survey of pixel values: whether the images of a data set use the range that their type has."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.files.channel_values import has_deep_channels
from tltool.data.files.decoding import decode_image, opened
from tltool.data.files.image_errors import BrokenImageError
from tltool.data.files.pixel_conversion import shown_values
from tltool.data.files.value_range import (
    SIXTEEN_BITS,
    ValueRange,
    is_for_eight_bits,
    suggest_range,
    value_bounds,
)
from tltool.data.loading.in_memory import InMemoryDecoder

NUM_OPENED = 256  # images whose type is looked up
NUM_DECODED = 32  # images whose values are looked at, fewer once one of them uses the range
_EIGHT_BITS = (0, 255)
# A larger value than this proves that the range is used: 15 of 16 bits, and 5 of 8, for an 8-bit
# data set may well be dark, but not black.
_NARROW = {SIXTEEN_BITS: 32767, _EIGHT_BITS: 31}
_JPEG_EDGE = 64


@dataclass(frozen=True)
class ValueSurvey:
    """Pixel values of some images, spread evenly over a data set.

    Attributes:
        num_images: How many images there are.
        num_opened: Of how many the type was looked up.
        num_deep: How many of these have more than 8 bits in a channel.
        num_decoded: Of how many the values were looked at; of deep ones, if there are any.
        low: The least value.
        high: The largest value.
        own_range: The values that their type holds; ``None`` for 32 bits or a sign.
    """

    num_images: int
    num_opened: int
    num_deep: int
    num_decoded: int
    low: float
    high: float
    own_range: tuple[int, int] | None

    @property
    def suggestion(self) -> str:
        """The option that scales by the smallest usual range with all values in it."""
        black, white = suggest_range(self.low, self.high, is_count=self.own_range is not None)
        return f"--data.value_range {black} {white}"

    @property
    def looked_at(self) -> str:
        """How many images were looked at, and what was seen."""
        bits = 32 if self.own_range is None else self.own_range[1].bit_length()
        return (
            f"{bits}-bit, values {self.low:,g} to {self.high:,g} in the {self.num_decoded:,} of "
            f"{self.num_images:,} images that were looked at"
        )


def survey_values(paths: Sequence[str], decode: Callable[..., Image.Image]) -> ValueSurvey:
    """Look at the values of some images; the same images at each call.

    Of files the headers are read first, for of 8-bit images one that is not dark is enough.

    Args:
        paths: All images.
        decode: Makes an image from a path.

    Example:
        >>> dots = InMemoryDecoder({"dots": [(np.full((1, 1), 9, np.uint16), 0)] * 3})
        >>> survey_values([f"dots/{number}" for number in range(3)], dots).looked_at
        '16-bit, values 9 to 9 in the 3 of 3 images that were looked at'
    """
    drawn = _spread(paths, NUM_OPENED)
    deep = [path for path in drawn if _is_deep(path, decode)]
    low, high, num_decoded = np.inf, -np.inf, 0
    own_range: tuple[int, int] | None = SIXTEEN_BITS if deep else _EIGHT_BITS
    for path in _spread(deep or drawn, NUM_DECODED):
        values = _values(path, decode)
        if values is None or not values.size:
            continue
        bounds = value_bounds(values)
        low, high, num_decoded = min(low, bounds[0]), max(high, bounds[1]), num_decoded + 1
        if deep and (values.dtype.kind == "f" or low < 0 or high > SIXTEEN_BITS[1]):
            own_range = None
        if own_range and values.dtype.itemsize < 4 and high > _NARROW[own_range]:
            break
    if not num_decoded:
        low = high = 0
    return ValueSurvey(
        len(paths), len(drawn), len(deep), num_decoded, float(low), float(high), own_range
    )


def find_value_problem(
    survey: ValueSurvey, value_range: ValueRange | None, *, place: str
) -> str | None:
    """Return what is wrong with the values and what to set; ``None`` where they can be used.

    Args:
        survey: Values of some of the images.
        value_range: The range that was chosen, if one was.
        place: Where the images lie, for the message.

    Example:
        >>> survey = ValueSurvey(9, 9, 9, 9, 0.0, 4000.0, SIXTEEN_BITS)
        >>> find_value_problem(survey, None, place="'scans'")
        "'scans' has images whose values need 12 bits, in files of 16 bits (16-bit, values ..."
        >>> find_value_problem(survey, (0, 4095), place="'scans'")
    """
    if value_range is None:
        return _problem_of_own_range(survey, place)
    black, white = value_range
    if not survey.num_deep and not is_for_eight_bits(value_range):
        return (
            f"{place} has 8-bit images only ({survey.num_opened:,} of {survey.num_images:,} were "
            f"opened), and a range of {black:g} to {white:g} is for images of more bits. Leave "
            "--data.value_range out."
        )
    if 0 < survey.num_deep < survey.num_opened and is_for_eight_bits(value_range) and white < 255:
        return (
            f"{place} has 8-bit images and others, which a range of {black:g} to {white:g} cannot "
            "fit alike. Save all of them with 8 bits, and leave --data.value_range out."
        )
    if survey.num_decoded and (survey.high <= black or survey.low >= white):
        return (
            f"Scaled from {black:g} to {white:g}, the images in {place} would be all black or all "
            f"white: {survey.looked_at}. Set {survey.suggestion}, or other values that they lie "
            "between."
        )
    return None


def _problem_of_own_range(survey: ValueSurvey, place: str) -> str | None:
    if survey.own_range is None:
        return (
            f"{place} has images of 32 bits or with a sign, of which no standard says which values "
            f"are black and white ({survey.looked_at}). Set {survey.suggestion}, or other values, "
            "to scale all images by that range."
        )
    if not survey.high or survey.high > _NARROW[survey.own_range]:
        return None
    bits = survey.own_range[1].bit_length()
    largest = survey.own_range[1]
    return (
        f"{place} has images whose values need {int(survey.high).bit_length()} bits, in files of "
        f"{bits} bits ({survey.looked_at}): the brightest pixel would be "
        f"{255 * survey.high / largest:.0f} of 255. Set {survey.suggestion} to scale all images by "
        f"that range, or --data.value_range 0 {largest} to keep them dark."
    )


def _spread(paths: Sequence[str], most: int) -> list[str]:
    """Return at most so many, evenly spread."""
    number = min(len(paths), most)
    return [paths[index * len(paths) // number] for index in range(number)]


def _is_deep(path: str, decode: Callable[..., Image.Image]) -> bool:
    source = _source(path, decode)
    if isinstance(source, Image.Image):
        return has_deep_channels(source)
    if not isinstance(source, str | bytes):
        return np.asarray(source).dtype.itemsize > 1
    try:
        with _opened(path, source) as image:
            return has_deep_channels(image)
    except BrokenImageError:
        return False  # Said where it is decoded.


def _source(path: str, decode: Callable[..., Image.Image]) -> Any:
    """Return the path of an image, or what its source has where it lies in no file."""
    if decode is decode_image:
        return path
    if isinstance(decode, InMemoryDecoder):
        return decode.image(path)
    return decode(path, mode="RGB", size=None)


def _opened(path: str, source: str | bytes) -> AbstractContextManager[Image.Image]:
    """Open an image by its path, or the encoded bytes that are known by that."""
    return opened(path, source) if isinstance(source, bytes) else opened(source)


def _values(path: str, decode: Callable[..., Image.Image]) -> NDArray[Any] | None:
    """Return the values of an image as its source has them; ``None`` if it cannot be read."""
    source = _source(path, decode)
    if isinstance(source, Image.Image):
        return shown_values(source)
    if not isinstance(source, str | bytes):
        return np.asarray(source)
    try:
        with _opened(path, source) as image:
            image.draft(None, (_JPEG_EDGE, _JPEG_EDGE))
            return shown_values(image)
    except BrokenImageError:
        return None
