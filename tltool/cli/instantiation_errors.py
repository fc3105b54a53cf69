"""jsonargparse's errors about loggers and callbacks that cannot be made, in one line."""

import re

_NOT_MADE = re.compile(r"Problem with given class_path '(?P<path>[\w.]+)':\s*(?P<reason>[^\n]+)")
_PACKAGE = re.compile(r"pip install (?:-U )?'?([\w.-]+)")


def one_line_error(error: ValueError) -> ValueError | None:
    """Return jsonargparse's error about a logger or callback in one line; ``None`` for others."""
    found = _NOT_MADE.search(str(error))
    if found is None or "Union subtypes" not in str(error):
        return None
    name = found["path"].rpartition(".")[2]
    why = f"cannot be made: {found['reason']}"
    for package in _PACKAGE.findall(str(error))[-1:]:
        why = f"needs a package that is not installed. Type: pip install {package}"
    return ValueError(f"{name} {why}")
