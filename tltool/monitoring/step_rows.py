"""Rows of a run that are written as it goes, each with its step: a CSV that survives a kill."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tltool.whole_file import write_rows


class StepRows:
    """Appends rows to a CSV file, and drops those that a resumed run will write again.

    Args:
        path: The file; it begins with the first row.
        columns: Names of the columns, ``step`` among them.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = columns

    def drop_from(self, step: int) -> None:
        """Drop the rows from a step on."""
        if not self.path.is_file():
            return
        kept = [row for row in read_rows(self.path) if int(row["step"]) < step]
        write_rows(self.path, self.columns, kept)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; what a row lacks is left empty."""
        is_new = not self.path.is_file()
        # Lines are appended in one write: a kill leaves whole ones, or a last one without its end.
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            if is_new:
                writer.writeheader()
            writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of such a file; one that a kill cut short is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]
