"""Table of features: a Parquet file with a row for each image: path, split, label and features."""

import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tltool._atomic_write import whole_file
from tltool.features.cache import Features

_ROWS = 4096  # that are in memory at once


class FeatureSplit(NamedTuple):
    """The images of a split, with their features.

    Attributes:
        paths: ``N`` paths, or names where the images lie in no files.
        labels: ``N`` labels as text; empty text where there is none.
        features: ``(N, num_features)``, or those of the cache, which are read where they are used.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    features: Tensor | Features


def write_features(
    path: str | Path,
    splits: Mapping[str, FeatureSplit],
    *,
    facts: Mapping[str, Any] | None = None,
) -> int:
    """Write features as a Parquet file, whole or not at all, and return the number of rows.

    Its columns are ``path``, ``split``, ``label`` (null where there is none) and ``features``, a
    list of fixed size of 32-bit floats.

    Args:
        path: The file, which ends in ``.parquet``.
        splits: By the name of the split.
        facts: Plain data about the features, kept in the file's metadata under ``tltool``.

    Raises:
        ModuleNotFoundError: If the package is missing.
        ValueError: If the name ends in something else, or a split has not a label and features for
            each path, or features of another width.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> import pyarrow.parquet
        >>> path = Path(tempfile.mkdtemp()) / "features.parquet"
        >>> train = FeatureSplit(["a.jpg", "b.jpg"], ["ants", "bees"], torch.eye(2))
        >>> write_features(path, {"train": train})
        2
        >>> pyarrow.parquet.read_table(path).slice(1).to_pylist()
        [{'path': 'b.jpg', 'split': 'train', 'label': 'bees', 'features': [0.0, 1.0]}]
    """
    path = Path(path).expanduser()
    check_table_path(path)
    arrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    width = _width(splits)
    columns = {name: arrow.string() for name in ("path", "split", "label")}
    schema = arrow.schema({**columns, "features": arrow.list_(arrow.float32(), width)})
    schema = schema.with_metadata({"tltool": json.dumps(dict(facts or {}))})
    with whole_file(path, sync=True) as partial, parquet.ParquetWriter(partial, schema) as writer:
        for name, split in splits.items():
            for start in range(0, len(split.paths), _ROWS):
                writer.write_batch(_batch(arrow, schema, name, split, start))
    return sum(len(split.paths) for split in splits.values())


def check_table_path(path: Path) -> None:
    """Raise before anything is computed if a table cannot be written there.

    Raises:
        ModuleNotFoundError: If the package is missing.
        ValueError: If the name does not end in ``.parquet``.
        FileNotFoundError: If there is no such folder.
    """
    if path.suffix.lower() != ".parquet":
        raise ValueError(f"Features are written as Parquet: '{path}' has to end in .parquet.")
    if importlib.util.find_spec("pyarrow") is None:
        raise ModuleNotFoundError(
            f"'{path}' needs one more package. Type: pip install 'tltool[parquet]'"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder '{path.parent}'. Create it first.")


def _width(splits: Mapping[str, FeatureSplit]) -> int:
    for name, split in splits.items():
        lengths = {len(split.paths), len(split.labels), len(split.features)}
        if len(lengths) > 1:
            raise ValueError(
                f"The split {name} has {len(split.paths)} paths, {len(split.labels)} labels and "
                f"{len(split.features)} rows of features. Give one of each for each image."
            )
    widths = {_num_features(split.features) for split in splits.values()}
    if len(widths) != 1:
        raise ValueError(
            f"A table holds features of one width, got {sorted(widths) or 'none'}. Write one file "
            "for each network."
        )
    return widths.pop()


def _num_features(features: Tensor | Features) -> int:
    return features.shape[1] if isinstance(features, Tensor) else features.num_features


def _batch(arrow: Any, schema: Any, name: str, split: FeatureSplit, start: int) -> Any:
    """Return some rows of a split."""
    chosen = range(start, min(start + _ROWS, len(split.paths)))
    features = split.features
    if isinstance(features, Tensor):
        rows = features[chosen.start : chosen.stop].cpu()
    else:
        rows = features.select(chosen)
    values = arrow.array(rows.to(torch.float32).contiguous().numpy().reshape(-1))
    labels = [split.labels[index] or None for index in chosen]
    return arrow.record_batch(
        [
            arrow.array([split.paths[index] for index in chosen], arrow.string()),
            arrow.array([name] * len(chosen), arrow.string()),
            arrow.array(labels, arrow.string()),
            arrow.FixedSizeListArray.from_arrays(values, rows.shape[1]),
        ],
        schema=schema,
    )
