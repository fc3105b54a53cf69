"""Prediction tables as CSV or Parquet: path, known label, predicted class, probabilities."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from torch import Tensor

from tltool._atomic_write import whole_file
from tltool._csv_rows import write_rows
from tltool._objective import Objective
from tltool._output_file import check_output_file
from tltool.data.files.directory_listing import printable
from tltool.evaluation.confusion import MANY_CLASSES
from tltool.evaluation.multi_label import joined_names, predicted_classes
from tltool.evaluation.prediction_kind import PredictionKind

SUFFIXES = (".csv", ".parquet")
TOP = 5
"""So many of the most probable classes have columns where classes are many."""

REJECTED, UNKNOWN = "rejected", "is_unknown"
"""The columns that say whether a prediction is too unsure, and an image of none of the classes."""

NUMBER = ("probability", "unknown_score")
"""How the columns begin that hold numbers."""

_CELLS = 4_000_000

PredictionRow = dict[str, str | float | bool]


class RankedImages(NamedTuple):
    """What a table shows of some images.

    Attributes:
        paths: Where they lie.
        probabilities: ``(N, K)``: of the most probable classes, the highest first, or of all
            classes in their order.
            Of a regression the numbers, ``(N, 1)``.
        labels: The most probable class of each image, ``(N, K)``, or ``(N, 1)`` beside all classes.
        predicted: Whether each class is predicted, ``(N, num_classes)``, where an image may have
            several.
        further: The cells of further columns by their names, ``N`` in each.
    """

    paths: list[str]
    probabilities: Tensor
    labels: Tensor
    predicted: Tensor | None = None
    further: Mapping[str, list[str | float | bool]] = MappingProxyType({})


def check_output(output: Path) -> None:
    """Refuse a place or a format that cannot be written, before the predictions are made.

    Raises:
        FileNotFoundError: If the directory is not there.
        IsADirectoryError: If it is a directory itself.
        ValueError: If the suffix is unknown, or pyarrow is missing for ``.parquet``.
    """
    check_output_file(output, "--output", suffixes=SUFFIXES)
    if output.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError("Parquet needs pyarrow. Type `pip install pyarrow`, or write a .csv file.")


def num_shown_classes(
    top_k: int | Literal["all"] | None, num_classes: int, objective: Objective = "single_label"
) -> int | None:
    """Return of how many classes a table shows the probability, or ``None`` for all in their order.

    Args:
        top_k: How many of the most probable ones; ``all`` for a column for each class; ``None`` for
            all, but of more than `MANY_CLASSES` the `TOP` most probable ones.
        num_classes: Number of classes.
        objective: What is predicted.

    Raises:
        ValueError: If there are not so many, or none.

    Example:
        >>> [num_shown_classes(top_k, 2000) for top_k in (None, 3, "all")]
        [5, 3, None]
    """
    if objective == "regression" and top_k is not None:
        raise ValueError("--top_k is about classes, and the model predicts a number. Leave it out.")
    if top_k == "all":
        return None
    if top_k is None:
        return TOP if num_classes > MANY_CLASSES else None
    if not 1 <= top_k <= num_classes:
        raise ValueError(
            f"--top_k {top_k} is not possible with {num_classes} classes. Set a number from 1 to "
            f"{num_classes}, or all for a column for each class."
        )
    return top_k


def rank_classes(
    paths: list[str],
    probabilities: Tensor,
    num_shown: int | None,
    kind: PredictionKind | None = None,
) -> RankedImages:
    """Return what a table shows of a batch.

    Args:
        paths: Of the images.
        probabilities: ``(B, num_classes)``, or numbers ``(B, 1)``.
        num_shown: See `num_shown_classes`.
        kind: What is predicted; ``None`` for one class of each image.

    Example:
        >>> import torch
        >>> rank_classes(["a.jpg"], torch.tensor([[0.25, 0.5, 0.25]]), 2).labels
        tensor([[1, 0]])
    """
    several = kind is not None and kind.objective == "multi_label"
    predicted = (
        predicted_classes(probabilities, kind.thresholds) if kind is not None and several else None
    )
    if num_shown is None:
        best = probabilities.argmax(dim=1, keepdim=True)
        return RankedImages(paths, probabilities, best, predicted)
    # Of equals the first, as argmax has it; `topk` may give any.
    ranked, labels = probabilities.sort(dim=1, descending=True, stable=True)
    ranked, labels = (each[:, :num_shown].clone() for each in (ranked, labels))
    return RankedImages(paths, ranked, labels, predicted)


def prediction_columns(
    class_names: Sequence[str],
    *,
    labeled: bool,
    num_shown: int | None,
    objective: Objective = "single_label",
    rejecting: bool = False,
    further: Sequence[str] = (),
) -> list[str]:
    """Return the columns of a table.

    A column ``probability:NAME`` for each class, or the columns ``top1``, ``probability1``,
    ``top2`` and so on. Of a regression one column with the name of its target.

    Args:
        class_names: Names of the classes.
        labeled: Whether there is a column ``label``.
        num_shown: See `num_shown_classes`.
        objective: What is predicted.
        rejecting: Whether there is a column ``rejected``.
        further: Columns behind the prediction, such as those of `LimitColumns`.

    Example:
        >>> prediction_columns(["ants", "bees"], labeled=False, num_shown=1)
        ['path', 'prediction', 'top1', 'probability1']
        >>> prediction_columns(["age"], labeled=True, num_shown=None, objective="regression")
        ['path', 'label', 'age']
    """
    known = ["path", *(["label"] if labeled else [])]
    if objective == "regression":
        return [*known, target_column(class_names[0])]
    first = [*known, "prediction", *([REJECTED] if rejecting else []), *further]
    if num_shown is None:
        return [*first, *(f"probability:{name}" for name in class_names)]
    numbers = range(1, num_shown + 1)
    return [*first, *(f"{name}{n}" for n in numbers for name in ("top", "probability"))]


def target_column(target: str) -> str:
    """Return the column of a number by its name, which other columns may have too.

    Example:
        >>> target_column("age"), target_column("label")
        ('age', 'prediction:label')
    """
    return f"prediction:{target}" if target in ("path", "label") else target


def prediction_rows(
    batches: Iterable[RankedImages],
    columns: Sequence[str],
    class_names: Sequence[str],
    labels: Mapping[str, str] | None = None,
    *,
    reject_below: float | None = None,
) -> Iterator[PredictionRow]:
    """Yield a row for each image.

    Where an image may have several classes, their names are joined by a semicolon.

    Args:
        batches: Some images each, see `rank_classes`.
        columns: See `prediction_columns`.
        class_names: Names of the classes.
        labels: True class by path. Where it is known for any image there is a column ``label``,
            empty for the others.
        reject_below: The confidence below which a prediction is ``rejected``; ``None`` for none.
    """
    is_ranked, has_names = "top1" in columns, "prediction" in columns
    for batch in batches:
        found = (batch.paths, batch.labels.tolist(), batch.probabilities.tolist())
        for index, (path, ranked, probabilities) in enumerate(zip(*found, strict=True)):
            known = [labels.get(path, "")] if labels else []
            names = [class_names[label] for label in ranked]
            values = chain(*zip(names, probabilities, strict=True)) if is_ranked else probabilities
            said = names[0]
            if batch.predicted is not None:
                said = joined_names(batch.predicted[index], class_names)
            too_unsure = [] if reject_below is None else [max(probabilities) < reject_below]
            further = (cells[index] for cells in batch.further.values())
            named = [said, *too_unsure, *further] if has_names else []
            row = [printable(path), *known, *named, *values]
            yield dict(zip(columns, row, strict=True))


def write_prediction_table(
    output: Path,
    columns: Sequence[str],
    rows: Iterable[PredictionRow],
    numbers: Collection[str] = (),
) -> None:
    """Write rows as CSV or Parquet, by suffix, whole or not at all.

    Args:
        output: The file.
        columns: See `prediction_columns`.
        rows: See `prediction_rows`.
        numbers: Columns that hold numbers, beside those that begin with `NUMBER`.

    Raises:
        PermissionError: If the file cannot be written.
    """
    try:
        if output.suffix.lower() == ".parquet":
            with whole_file(output) as partial:
                _write_parquet(partial, columns, iter(rows), numbers)
        else:
            write_rows(output, columns, ({k: _cell(v) for k, v in r.items()} for r in rows))
    except OSError as error:
        reason = error.strerror or error
        raise PermissionError(
            f"Cannot write {str(output)!r}: {reason}. Set --output to another file."
        ) from error


def _cell(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_parquet(
    path: Path, columns: Sequence[str], rows: Iterator[PredictionRow], numbers: Collection[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    others = {REJECTED: pa.bool_(), UNKNOWN: pa.bool_(), **dict.fromkeys(numbers, pa.float64())}
    types = (
        pa.float64() if name.startswith(NUMBER) else others.get(name, pa.string())
        for name in columns
    )
    schema = pa.schema(list(zip(columns, types, strict=True)))
    in_group = max(1, _CELLS // len(columns))  # All rows of many classes would fill the memory.
    with pq.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, in_group)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
