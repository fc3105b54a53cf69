"""Prediction tables as CSV or Parquet: path, known label, predicted class, probabilities."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from tltool._atomic_write import whole_file
from tltool._csv_rows import write_rows
from tltool._output_file import check_output_file
from tltool.data.files.directory_listing import printable
from tltool.evaluation.confusion import MANY_CLASSES

SUFFIXES = (".csv", ".parquet")
TOP = 5
"""The most probable classes of an image, which a table has columns for where classes are many."""

PredictionRow = dict[str, str | float]


class RankedImages(NamedTuple):
    """The most probable classes of some images.

    Attributes:
        paths: Where they lie.
        probabilities: ``(N, K)``, the highest first.
        labels: The class of each of them, ``(N, K)``.
    """

    paths: list[str]
    probabilities: Tensor
    labels: Tensor


def check_output(output: Path) -> None:
    """Refuse a place or a format that cannot be written, before the predictions are made.

    Raises:
        FileNotFoundError: If the directory is not there.
        ValueError: If the suffix is unknown, or pyarrow is missing for ``.parquet``.
    """
    check_output_file(output, "--output", suffixes=SUFFIXES)
    if output.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError("Parquet needs pyarrow. Type `pip install pyarrow`, or write a .csv file.")


def rank_classes(paths: list[str], probabilities: Tensor) -> RankedImages:
    """Return what a table shows of a batch: all classes, or the `TOP` of many.

    Args:
        paths: Of the images.
        probabilities: ``(B, num_classes)``.
    """
    num_classes = probabilities.shape[1]
    shown = TOP if num_classes > MANY_CLASSES else num_classes
    # Of equals the first, as argmax has it; `topk` may give any.
    ranked, labels = probabilities.sort(dim=1, descending=True, stable=True)
    return RankedImages(paths, ranked[:, :shown].clone(), labels[:, :shown].clone())


def prediction_columns(class_names: Sequence[str], *, labeled: bool) -> list[str]:
    """Return the columns of a table.

    A column ``probability:NAME`` for each class; of more than `MANY_CLASSES`, the columns ``top1``,
    ``probability1``, ``top2`` and so on.

    Args:
        class_names: Names of the classes.
        labeled: Whether there is a column ``label``.
    """
    first = ["path", *(["label"] if labeled else []), "prediction"]
    if len(class_names) <= MANY_CLASSES:
        return [*first, *(f"probability:{name}" for name in class_names)]
    return [*first, *(f"{name}{n}" for n in range(1, TOP + 1) for name in ("top", "probability"))]


def prediction_rows(
    batches: Iterable[RankedImages],
    class_names: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> Iterator[PredictionRow]:
    """Yield a row for each image, see `prediction_columns`.

    Args:
        batches: Some images each, see `rank_classes`.
        class_names: Names of the classes.
        labels: True class by path. Where it is known for any image there is a column ``label``,
            empty for the others.
    """
    columns = prediction_columns(class_names, labeled=bool(labels))
    for batch in batches:
        found = (batch.paths, batch.labels.tolist(), batch.probabilities.tolist())
        for path, ranked, probabilities in zip(*found, strict=True):
            known = [labels.get(path, "")] if labels else []
            names = [class_names[label] for label in ranked]
            values: Iterable[str | float] = chain(*zip(names, probabilities, strict=True))
            if len(class_names) <= MANY_CLASSES:  # In the order of the classes.
                values = (p for _, p in sorted(zip(ranked, probabilities, strict=True)))
            row = [printable(path), *known, names[0], *values]
            yield dict(zip(columns, row, strict=True))


def write_prediction_table(
    output: Path, columns: Sequence[str], rows: Iterable[PredictionRow]
) -> None:
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
            write_rows(output, columns, short)
    except OSError as error:
        reason = error.strerror or error
        raise PermissionError(
            f"Cannot write {str(output)!r}: {reason}. Set --output to another file."
        ) from error
