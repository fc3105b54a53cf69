"""Prediction tables as CSV or Parquet: path, known label, predicted class, probabilities."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tltool._atomic_write import whole_file
from tltool._csv_rows import write_rows
from tltool._output_file import check_output_file
from tltool.data.files.directory_listing import printable
from tltool.inference.predictor import PredictedImages

SUFFIXES = (".csv", ".parquet")

PredictionRow = dict[str, str | float]


def check_output(output: Path) -> None:
    """Refuse a place or a format that cannot be written, before the predictions are made.

    Raises:
        FileNotFoundError: If the directory is not there.
        ValueError: If the suffix is unknown, or pyarrow is missing for ``.parquet``.
    """
    check_output_file(output, "--output", suffixes=SUFFIXES)
    if output.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError("Parquet needs pyarrow. Type `pip install pyarrow`, or write a .csv file.")


def prediction_rows(
    predicted: PredictedImages, class_names: Sequence[str], labels: Mapping[str, str] | None = None
) -> list[PredictionRow]:
    """Return a row for each image.

    Args:
        predicted: Paths, and probabilities ``(N, num_classes)``.
        class_names: Names of the classes; each gets a column ``probability:NAME``.
        labels: True class by path. Where it is known for any image there is a column ``label``,
            empty for the others.
    """
    rows: list[PredictionRow] = []
    for path, probabilities in zip(predicted.paths, predicted.probabilities.tolist(), strict=True):
        named = dict(zip(class_names, probabilities, strict=True))
        known = {"label": labels.get(path, "")} if labels else {}
        best = max(named, key=named.__getitem__)
        columns = {f"probability:{name}": value for name, value in named.items()}
        rows.append({"path": printable(path), **known, "prediction": best, **columns})
    return rows


def write_prediction_table(output: Path, rows: Sequence[PredictionRow]) -> None:
    """Write rows as CSV or Parquet, by suffix, whole or not at all.

    Raises:
        PermissionError: If the file cannot be written.
    """
    try:
        if output.suffix.lower() == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            with whole_file(output) as partial:
                pq.write_table(pa.Table.from_pylist(list(rows)), partial)
        else:
            short = ({k: f"{v:.6g}" if type(v) is float else v for k, v in r.items()} for r in rows)
            write_rows(output, list(rows[0]) if rows else ["path"], short)
    except OSError as error:
        reason = error.strerror or error
        raise PermissionError(
            f"Cannot write {str(output)!r}: {reason}. Set --output to another file."
        ) from error
