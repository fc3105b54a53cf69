"""Value range: which pixel values are black and white, and their scaling to 8 bits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.files.image_errors import UnknownRangeError

ValueRange = Sequence[float]
"""The values that become 0 and 255; what lies outside is clipped."""

SIXTEEN_BITS: tuple[int, int] = (0, 65535)

# The types that cameras and scanners count in, by their largest value.
_USUAL = (1, 15, 31, 255, 1023, 4095, 16383, 32767, 65535)


def check_value_range(value_range: Sequence[float]) -> list[float]:
    """Return a value range as plain data, after a look at it.

    Raises:
        ValueError: If it is not two numbers, the lower first.

    Example:
        >>> check_value_range((0, 4095))
        [0.0, 4095.0]
    """
    values = [float(value) for value in value_range]
    is_range = len(values) == 2 and all(map(math.isfinite, values)) and values[0] < values[-1]
    if not is_range:
        raise ValueError(
            f"`value_range` must be two numbers, the values of black and of white, got {values}. "
            "Set --data.value_range 0 4095 for 12 bits."
        )
    return values


def is_for_eight_bits(value_range: ValueRange) -> bool:
    """Return whether a range can be meant for 8-bit images too, which hold 0..255.

    Example:
        >>> is_for_eight_bits((0, 1)), is_for_eight_bits((0, 4095)), is_for_eight_bits((-1, 1))
        (True, False, False)
    """
    return value_range[0] >= 0 and value_range[1] <= 255


def suggest_range(low: float, high: float, *, is_count: bool) -> list[float]:
    """Return a range that holds some values.

    Args:
        low: The least of them.
        high: The largest.
        is_count: Whether they are counted from 0 in a number of bits. Else they may be anything,
            such as degrees.

    Example:
        >>> suggest_range(3, 3900, is_count=True), suggest_range(290.5, 310.5, is_count=False)
        ([0, 4095], [290, 311])
    """
    if low >= 0 and (high <= 1 or (is_count and high <= SIXTEEN_BITS[1])):
        return [0, next(largest for largest in _USUAL if high <= largest)]
    return [math.floor(low), max(math.ceil(high), math.floor(low) + 1)]


def scale_to_eight_bits(
    values: NDArray[Any], value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """Return pixel values scaled to 0..255, rounded and clipped; NaN becomes 0.

    Args:
        values: Of any type and shape.
        value_range: The values of black and of white. ``None`` takes 0..65535 where all values
            are whole numbers of this range, as 16-bit files hold them.

    Raises:
        UnknownRangeError: If there is no range to take.

    Example:
        >>> scale_to_eight_bits(np.array([-5.0, 0.0, 2.0, 4.0, np.nan]), (0, 4)).tolist()
        [0, 0, 128, 255, 0]
        >>> scale_to_eight_bits(np.array([0.5]))
        Traceback (most recent call last):
        ...
        tltool.data.files.image_errors.UnknownRangeError: it has 32-bit pixels, here from 0.5 to ...
    """
    if value_range is None:
        value_range = _own_range(values)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        # A table, for it takes an eighth of the memory.
        table = _scaled(np.arange(SIXTEEN_BITS[1] + 1), value_range)
        scaled: NDArray[np.uint8] = table[values]
        return scaled
    return _scaled(values, value_range)


def value_bounds(values: NDArray[Any]) -> tuple[float, float]:
    """Return the least and the largest of the finite values; zeros where there are none.

    Example:
        >>> value_bounds(np.array([np.nan, 3.0, np.inf, -1.0]))
        (-1.0, 3.0)
    """
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _own_range(values: NDArray[Any]) -> ValueRange:
    low, high = value_bounds(values)
    if values.dtype.kind in "iu" and low >= SIXTEEN_BITS[0] and high <= SIXTEEN_BITS[1]:
        return SIXTEEN_BITS
    black, white = suggest_range(low, high, is_count=False)
    raise UnknownRangeError(
        f"it has 32-bit pixels, here from {low:g} to {high:g}, whose range no standard gives; set "
        f"--data.value_range to the values of black and white in all images, such as {black:g} "
        f"{white:g}, or save it with 8 or 16 bits"
    )


def _scaled(values: NDArray[Any], value_range: ValueRange) -> NDArray[np.uint8]:
    black, white = value_range
    levels = (values.astype(np.float64) - black) * (255 / (white - black))
    np.nan_to_num(levels, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return (levels.clip(0, 255) + 0.5).astype(np.uint8)
