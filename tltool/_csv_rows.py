"""CSV files that survive a kill: a table written at once, or the rows of a run as they come."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tltool._atomic_write import whole_file


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table, whole or not at all; what a row lacks is left empty.

    Raises:
        FileNotFoundError: If its directory does not exist.
    """
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = _writer(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; one that a kill cut short is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        # A number that was cut short is a number, too: only the end of its line makes a row whole.
        whole = file.read().rpartition("\n")[0]
    return [row for row in csv.DictReader(io.StringIO(whole)) if None not in row.values()]


class StepRows:
    """The rows of a run, each with its ``step``, appended to a CSV file as the run goes.

    A row survives a kill as soon as `append` returns. A kill before leaves at most a last row
    without its end, which the next process to append removes.

    Args:
        path: The file; it begins with the first row.
        columns: Names of the columns, in front of those that later rows bring along.

    Example:
        >>> import tempfile
        >>> rows = StepRows(Path(tempfile.mkdtemp()) / "rows.csv", ["step"])
        >>> rows.append([{"step": 0, "loss": 0.5}, {"step": 1, "loss": 0.25}])
        >>> rows.drop_from(1)
        >>> rows.append([{"step": 1, "accuracy": 0.75}])
        >>> print(rows.path.read_text(), end="")
        step,loss,accuracy
        0,0.5,
        1,,0.75
    """

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        self.path = path
        self.columns = list(columns)
        # Not before this process has written all of it: what is there may end in a cut row.
        self._is_whole = False

    def drop_from(self, step: int) -> None:
        """Drop the rows from a step on, which a resumed run will write again."""
        if self.path.is_file():
            self.replace([row for row in read_rows(self.path) if int(row["step"]) < step])

    def replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows anew."""
        self.columns = list(dict.fromkeys([*self.columns, *(name for row in rows for name in row)]))
        write_rows(self.path, self.columns, rows)
        self._is_whole = True

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; what a row lacks is left empty, and a new name becomes a column."""
        is_there = self.path.is_file()
        has_new_columns = any(row.keys() - self.columns for row in rows)
        if not (is_there and self._is_whole) or has_new_columns:
            self.replace([*(read_rows(self.path) if is_there else []), *rows])
            return
        self._is_whole = False  # On a full disk, half a row is written.
        with self.path.open("a", newline="", encoding="utf-8") as file:
            _writer(file, self.columns).writerows(rows)
        self._is_whole = True

    def replace_last(self, row: Mapping[str, Any]) -> None:
        """Write the last row anew."""
        self.replace([*read_rows(self.path)[:-1], row])


def _writer(file: TextIO, columns: Sequence[str]) -> "csv.DictWriter[str]":
    return csv.DictWriter(_LineFeeds(file), columns, restval="", lineterminator="\r\n")


class _LineFeeds:
    """Ends each row by a line feed alone.

    A path may hold a carriage return, which csv quotes before Python 3.11.9 only where rows end by
    one (https://github.com/python/cpython/issues/67044).
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")
