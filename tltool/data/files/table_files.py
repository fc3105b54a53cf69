"""Read a table of images: CSV, TSV or Parquet, as a column of texts by name."""

import csv
import importlib
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tltool._objective import SEPARATOR
from tltool.data.files.decoding import is_image_name
from tltool.data.files.directory_listing import nearest_path

Columns = dict[str, list[str]]

_DELIMITERS = ",;\t|"
_NAMED_DELIMITER = re.compile(r'"?sep=([,;|]?)"?')  # Excel's first line, where it is written


def read_table(path: Path) -> Columns:
    r"""Return the columns of a table by name, every cell as text.

    A cell that is empty, null or NaN, as pandas writes what is missing, is empty text. A list, as
    Parquet may hold several classes of an image, is written as CSV has it: ``ants;bees``.

    Args:
        path: A ``.parquet`` file, or text with a header. The delimiter is the one of comma,
            semicolon, tab and bar that the header has most of. Blank lines are left out, and in
            front of the header comments that begin with ``#``.

    Raises:
        FileNotFoundError: If there is no such file; the message offers the nearest name.
        ValueError: If it cannot be read, has no row or two columns of one name, or a row is shorter
            or longer than the header.
        ModuleNotFoundError: If Parquet is read without its package.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "images.csv"
        >>> _ = path.write_text("path,label\na.jpg,ants\nb.jpg,bees\n")
        >>> read_table(path)
        {'path': ['a.jpg', 'b.jpg'], 'label': ['ants', 'bees']}
    """
    if not path.is_file():
        near = nearest_path(path)
        hint = f"Did you mean '{near}'?" if near else "Name a CSV or Parquet file."
        raise FileNotFoundError(f"There is no manifest '{path}'. {hint}")
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_text
    names, columns = read(path)
    # Excel leaves empty columns, without a name, beside those that were removed.
    repeated = [name for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        raise ValueError(
            f"The manifest '{path}' has more than one column {repeated[0]!r}. Rename or remove one."
        )
    if not columns or not columns[0]:
        raise ValueError(
            f"The manifest '{path}' has no rows. Write a header, such as path,label, and one row "
            "for each image."
        )
    return {
        name: [cell_text(cell) for cell in column]
        for name, column in zip(names, columns, strict=True)
    }


def _read_text(path: Path) -> tuple[list[str], list[Sequence[object]]]:
    try:
        # Excel writes a byte order mark; a path in quotes may hold a carriage return.
        lines = list(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
        start, delimiter = _find_header(lines)
        reader = csv.reader(lines[start:], delimiter=delimiter)
        names = [name.strip() for name in next(reader, [])]
        rows = [(start + reader.line_num, row) for row in reader if any(map(str.strip, row))]
    # A quote that is opened and not closed swallows all that follows.
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"The manifest '{path}' cannot be read: {error}. Save it as UTF-8, in Excel as 'CSV "
            "UTF-8', and look for a quote that is not closed."
        ) from error
    for line, row in rows:
        if len(row) != len(names):
            cure = f"Put cells that contain {delimiter!r} into quotes, and close each quote."
            if row[0].startswith("#"):
                cure = "If it is a comment, remove it or move it above the header."
            raise ValueError(
                f"Line {line} of '{path}' has {len(row)} cells, but the header has {len(names)}. "
                f"{cure}"
            )
    return names, [[row[index] for _, row in rows] for index in range(len(names))]


def _find_header(lines: list[str]) -> tuple[int, str]:
    """Return the index of the header, behind blank lines and comments, and the delimiter.

    A comment in front of a row that names an image is the header, and loses its mark.
    """
    comment = -1
    for start, line in enumerate(lines):
        text = line.strip()
        named = _NAMED_DELIMITER.fullmatch(text)
        if named:
            return start + 1, named[1] or "\t"
        if text.startswith("#"):
            comment = start
        elif text.strip(_DELIMITERS + '" '):
            delimiter = max(_DELIMITERS, key=line.count)
            is_row = any(is_image_name(cell.strip('" ')) for cell in text.split(delimiter))
            if is_row and comment >= 0 and lines[comment].count(delimiter) == line.count(delimiter):
                lines[comment] = lines[comment].lstrip("# ")
                return comment, delimiter
            return start, delimiter
    return len(lines), ","


def _read_parquet(path: Path) -> tuple[list[str], list[Sequence[object]]]:
    if importlib.util.find_spec("pyarrow") is None:
        raise ModuleNotFoundError(
            f"'{path}' needs one more package: pip install 'tltool[parquet]'. Or save it as CSV."
        )
    pyarrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    try:
        table = parquet.ParquetFile(path).read()
    except pyarrow.ArrowException as error:
        raise ValueError(
            f"The manifest '{path}' is no Parquet file: {str(error).rstrip('.')}. Write it anew."
        ) from error
    return table.column_names, [column.to_pylist() for column in table.columns]


def cell_text(value: object) -> str:
    """Return the text of a cell; it is empty where the cell is empty, null or NaN.

    Example:
        >>> cell_text(3), cell_text(float("nan")), cell_text(["ants", "bees"])
        ('3', '', 'ants;bees')
    """
    if isinstance(value, list):
        return SEPARATOR.join(filter(None, map(cell_text, value)))
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text
