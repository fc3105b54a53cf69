"""Read a table of photos: CSV, TSV or Parquet, as a column of texts by name."""

import csv
import importlib
import importlib.util
from pathlib import Path

from tltool.data.listing import nearest_path

Columns = dict[str, list[str]]

_DELIMITERS = ",;\t|"


def read_table(path: Path) -> Columns:
    r"""Return the columns of a table by name. Every cell is text; an empty cell is empty text.

    Args:
        path: A ``.parquet`` file, or text with a header. The delimiter is the one of comma,
            semicolon, tab and bar that the header has most of.

    Raises:
        FileNotFoundError: If there is no such file; the message offers the nearest name.
        ValueError: If it has no row, or a row is shorter or longer than the header.
        ModuleNotFoundError: If Parquet is read without its package.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "photos.csv"
        >>> _ = path.write_text("path,label\na.jpg,ants\nb.jpg,bees\n")
        >>> read_table(path)
        {'path': ['a.jpg', 'b.jpg'], 'label': ['ants', 'bees']}
    """
    if not path.is_file():
        near = nearest_path(path)
        hint = f"Did you mean '{near}'?" if near else "Name a CSV or Parquet file."
        raise FileNotFoundError(f"There is no manifest '{path}'. {hint}")
    columns = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    if not columns or not next(iter(columns.values())):
        raise ValueError(
            f"The manifest '{path}' has no rows. Write a header, such as path,label, and one row "
            "for each photo."
        )
    return columns


def _read_text(path: Path) -> Columns:
    with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes a byte order mark.
        header = file.readline()
        file.seek(0)
        delimiter = max(_DELIMITERS, key=header.count)
        reader = csv.reader(file, delimiter=delimiter)
        names = [name.strip() for name in next(reader, [])]
        columns: Columns = {name: [] for name in names}
        for row in filter(None, reader):
            if len(row) != len(names):
                raise ValueError(
                    f"Line {reader.line_num} of '{path}' has {len(row)} cells, but the header has "
                    f"{len(names)}. Put cells that contain {delimiter!r} into quotes."
                )
            for name, cell in zip(names, row, strict=True):
                columns[name].append(cell.strip())
    return columns


def _read_parquet(path: Path) -> Columns:
    if importlib.util.find_spec("pyarrow") is None:
        raise ModuleNotFoundError(
            f"'{path}' needs one more package: pip install 'tltool[parquet]'. Or save it as CSV."
        )
    table = importlib.import_module("pyarrow.parquet").read_table(path)
    return {
        str(name): ["" if value is None else str(value) for value in column.to_pylist()]
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
