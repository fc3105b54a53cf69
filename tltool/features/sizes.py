"""Sizes on the disk as text, such as 10GB."""

import re

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>[kmgt]b)", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return a number of bytes.

    Raises:
        ValueError: If the text is no number with a unit.

    Example:
        >>> parse_size("1.5GB"), parse_size("500 MB")
        (1500000000, 500000000)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"A size is a number with kB, MB, GB or TB, such as 10GB; got {text!r}.")
    return int(float(found["number"]) * _UNITS[found["unit"].lower()])
