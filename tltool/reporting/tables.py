"""Tables for terminal, page and W&B: columns, rows, and how a cell is shown."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from tltool.evaluation.per_class import ClassMetrics


class FactTable(NamedTuple):
    """A table.

    Attributes:
        columns: Names of the columns.
        rows: A value for each column.
        numbers: Columns that are aligned as numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: Sequence[int] = ()

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text: shares with three digits, numbers with separators.

        Example:
            >>> FactTable(["class", "images", "recall"], [["ants", 1200, 0.5]]).cells
            [['ants', '1,200', '0.500']]
        """
        return [[_cell(value) for value in row] for row in self.rows]


def rich_table(facts: FactTable, title: str | None = None) -> Table:
    """Return a table for the terminal."""
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(facts.columns):
        table.add_column(name, justify="right" if index in facts.numbers else "left")
    for row in facts.cells:
        table.add_row(*map(Text, row))  # Names may hold what rich takes for markup.
    return table


def class_table(classes: Sequence[ClassMetrics], most: int | None = None) -> FactTable:
    """Return one row for each class; of more than ``most``, those with the lowest F1.

    Example:
        >>> class_table([ClassMetrics("ants", 2, 1.0, 0.5, 2 / 3, None, "bees", 1)]).rows
        [['ants', 2, 1.0, 0.5, 0.667, 'bees (1)']]
    """
    if most is not None and len(classes) > most:
        classes = sorted(classes, key=lambda each: each.f1)[:most]
    known = [] if any(each.confidence is None for each in classes) else ["confidence"]
    rows: list[list[object]] = []
    for each in classes:
        numbers = [each.precision, each.recall, each.f1, *([each.confidence] if known else [])]
        mistake = f"{each.confused_with} ({each.num_confused:,})" if each.num_confused else ""
        rounded = [round(number, 3) for number in numbers if number is not None]
        rows.append([each.name, each.num_images, *rounded, mistake])
    columns = ["class", "images", "precision", "recall", "F1", *known, "most often predicted as"]
    return FactTable(columns, rows, range(1, 5 + len(known)))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
