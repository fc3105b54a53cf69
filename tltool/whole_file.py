"""Files that are there whole or not at all, whatever ends the process that writes them."""

import contextlib
import csv
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
"""How the name of a file ends while it is written. A process that was killed leaves it behind."""


@contextlib.contextmanager
def whole_file(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a path to write to, and let it take its own place when all of it is written.

    Args:
        path: Where the file is to be; an older one is replaced.
        sync: Wait until it has reached the disk, so that even a power cut leaves one of the two.

    Yields:
        A path beside it, of a file that is not there yet.

    Raises:
        FileNotFoundError: If its folder does not exist.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> with whole_file(path) as partial:
        ...     _ = partial.write_text("1 2 3")
        ...     path.exists()
        False
        >>> path.read_text()
        '1 2 3'
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r}. Create it first.")
    # Not the number of the process: another machine may write into the same folder.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        yield partial
        if sync:
            _sync(partial)
        partial.replace(path)
        if sync:
            _sync(path.parent)  # Else the name may be lost.
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str) -> None:
    """Write a text, whole or not at all; see `whole_file`.

    Raises:
        FileNotFoundError: If its folder does not exist.
    """
    with whole_file(path) as partial:
        partial.write_text(content, encoding="utf-8")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table as CSV, whole or not at all; what a row lacks is left empty.

    Raises:
        FileNotFoundError: If its folder does not exist.
    """
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def save_figure(figure: Any, path: Path, *, dpi: int = 150) -> None:
    """Draw a figure of matplotlib as what the suffix says (PNG without one), whole or not at all.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If matplotlib cannot draw such a file.
    """
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=dpi, format=path.suffix.removeprefix(".").lower() or "png")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
