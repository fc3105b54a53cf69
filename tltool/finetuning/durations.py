"""Durations as text, such as ``10m``, and in words."""

import re

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[hms])+")


def parse_duration(text: str) -> float:
    """Return the seconds that a text stands for.

    Args:
        text: Hours, minutes and seconds, each with its letter.

    Raises:
        ValueError: If it is no duration, or 0.

    Example:
        >>> parse_duration("10m"), parse_duration("1h30m"), parse_duration("2.5s")
        (600.0, 5400.0, 2.5)
    """
    parts = re.findall(r"([\d.]+)([hms])", text) if _DURATION.fullmatch(text) else []
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds:
        raise ValueError(f"{text!r} is no duration. Write 10m, 90s or 1h30m.")
    return seconds


def describe_duration(seconds: float) -> str:
    """Return a duration in words.

    Example:
        >>> describe_duration(75.2), describe_duration(7260)
        ('1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
