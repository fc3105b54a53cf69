"""Predictions as a table: path, label where it is known, predicted class, probabilities."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tltool.data.listing import printable

SUFFIXES = (".csv", ".parquet")

Row = dict[str, str | float]


def check_output(output: Path) -> None:
    """Refuse a place or a format that cannot be written, before the predictions are made.

    Raises:
        FileNotFoundError: If the folder is not there.
        ValueError: If the suffix is unknown, or pyarrow is missing for ``.parquet``.
    """
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(output.parent)!r} for --output. Create it first."
        )
    if output.suffix not in SUFFIXES:
        raise ValueError(f"--output {str(output)!r} must end in {' or '.join(SUFFIXES)}.")
    if output.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError("Parquet needs pyarrow. Type `pip install pyarrow`, or write a .csv file.")


def table_rows(
    batches: Iterable[Mapping[str, Any]],
    class_names: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> list[Row]:
    """Return a row for each photo.

    Args:
        batches: Batches of ``paths`` and ``probabilities`` ``(B, num_classes)``.
        class_names: Names of the classes; each gets a column ``probability:NAME``.
        labels: True class by path. Where it is known for any photo there is a column ``label``,
            empty for the others.
    """
    rows = []
    for batch in batches:
        for path, probabilities in zip(
            batch["paths"], batch["probabilities"].tolist(), strict=True
        ):
            best = max(range(len(class_names)), key=probabilities.__getitem__)
            row: Row = {"path": printable(path)}
            if labels:
                row["label"] = labels.get(path, "")
            row["prediction"] = class_names[best]
            named = zip(class_names, probabilities, strict=True)
            rows.append(row | {f"probability:{name}": p for name, p in named})
    return rows


def write_table(output: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV or Parquet, by suffix, whole or not at all.

    Raises:
        PermissionError: If the file cannot be written.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        if output.suffix == ".parquet":
            _write_parquet(partial, rows)
        else:
            _write_csv(partial, rows)
        partial.replace(output)
    except OSError as error:
        raise PermissionError(
            f"Cannot write {str(output)!r}: {error.strerror}. Set --output to another file."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["path"])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path)
