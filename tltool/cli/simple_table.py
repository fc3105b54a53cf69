"""Tables without frames for lists on the terminal: cells that are there to be copied stay whole."""

from collections.abc import Collection, Sequence
from typing import Literal

from rich import box
from rich.table import Table

from tltool._plain_text import one_line, plain_console


def print_simple_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[str] = (),
    flexible: Collection[str] = (),
) -> None:
    """Print a table.

    Args:
        columns: Names of the columns.
        rows: A text for each column, which is shown on one line.
        numbers: Columns that are aligned at the right.
        flexible: Columns that are wrapped where the terminal is too narrow.
    """
    rows = [list(map(one_line, row)) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, *cells in zip(columns, *rows, strict=True):
        justify: Literal["left", "right"] = "right" if name in numbers else "left"
        if name in flexible:
            table.add_column(name, justify=justify, overflow="fold")
        else:
            width = max(map(len, [name, *cells]))
            table.add_column(name, justify=justify, no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*row)
    plain_console().print(table)
