"""Paths of images from a stream, one on each line, such as those that ``find`` writes."""

import os
from typing import BinaryIO

STANDARD_INPUT = "-"
"""The ``root`` that stands for paths on standard input."""


def read_paths(stream: BinaryIO, *, allow_missing: bool = False) -> list[str]:
    r"""Return the paths on the lines of a stream, in order; empty lines are left out.

    Args:
        stream: The lines, as bytes: a name need not be text of the locale.
        allow_missing: Keep paths at which there is no file.

    Raises:
        ValueError: If there is no path.
        FileNotFoundError: If there is no file at one.

    Example:
        >>> import io
        >>> read_paths(io.BytesIO(b"ant.jpg\n\nmy bee.jpg\n"), allow_missing=True)
        ['ant.jpg', 'my bee.jpg']
    """
    paths = [os.fsdecode(path) for line in stream if (path := line.rstrip(b"\r\n"))]
    if not paths:
        raise ValueError(
            "There is no path on standard input. Write one on each line: find images -name '*.jpg' "
            "| tltool predict --data.root - ..."
        )
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing and not allow_missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} paths on standard input are no files, such as "
            f"'{missing[0]}'. They start from the working directory, which is '{os.getcwd()}'; "
            "--data.broken_files skip leaves them out."
        )
    return paths
