"""Tables for terminal, page and W&B: columns, rows, and how a cell is shown."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from tltool._plain_text import one_line
from tltool.evaluation.per_class import ClassMetrics


class FactTable(NamedTuple):
    """A table.

    Attributes:
        columns: Names of the columns.
        rows: A value for each column.
        numbers: Columns that are aligned as numbers.
        note: What is to be said below it, such as which rows were left out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: Sequence[int] = ()
    note: str = ""

    @property
    def headings(self) -> list[str]:
        """The names of the columns, each on one line."""
        return [one_line(name) for name in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        r"""The rows as text, on one line: shares with three digits, numbers with separators.

        Example:
            >>> FactTable(["class", "images", "recall"], [["ants", 1200, 0.5]]).cells
            [['ants', '1,200', '0.500']]
            >>> print(FactTable(["class"], [["big\nants"]]).cells[0][0])
            big\nants
        """
        return [[_cell(value) for value in row] for row in self.rows]


def rich_table(facts: FactTable) -> Table:
    """Return a table for the terminal, of any console: no name is taken for markup."""
    note = Text(one_line(facts.note)) if facts.note else None
    table = Table(caption=note, caption_justify="left")
    for index, name in enumerate(facts.headings):
        table.add_column(Text(name), justify="right" if index in facts.numbers else "left")
    for row in facts.cells:
        table.add_row(*map(Text, row))
    return table


def class_table(classes: Sequence[ClassMetrics], most: int | None = None) -> FactTable:
    """Return one row for each class; of more than ``most``, those with the lowest F1.

    Example:
        >>> class_table([ClassMetrics("ants", 2, 1.0, 0.5, 2 / 3, None, "bees", 1)]).rows
        [['ants', 2, 1.0, 0.5, 0.667, 'bees (1)']]
    """
    note = ""
    if most is not None and len(classes) > most:
        note = f"{len(classes) - most:,} more classes have an F1 at least as high."
        classes = sorted(classes, key=lambda each: each.f1)[:most]
    known = [] if any(each.confidence is None for each in classes) else ["confidence"]
    rows: list[list[object]] = []
    for each in classes:
        numbers = [each.precision, each.recall, each.f1, *([each.confidence] if known else [])]
        mistake = f"{each.confused_with} ({each.num_confused:,})" if each.num_confused else ""
        rounded = [round(number, 3) for number in numbers if number is not None]
        rows.append([each.name, each.num_images, *rounded, mistake])
    columns = ["class", "images", "precision", "recall", "F1", *known, "most often predicted as"]
    return FactTable(columns, rows, range(1, 5 + len(known)), note)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else one_line(value)
