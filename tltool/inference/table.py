"""Predictions as a table: path, predicted class, probability of each class."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_table(
    output: Path, batches: Iterable[Mapping[str, Any]], class_names: Sequence[str]
) -> int:
    """Write a CSV file, whole or not at all, and return its number of rows.

    Args:
        output: The file; one that exists is replaced once the new one is complete.
        batches: Batches of ``paths`` and ``probabilities`` ``(B, num_classes)``.
        class_names: Names of the classes; each gets a column ``probability:NAME``.

    Raises:
        PermissionError: If the file cannot be written.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    rows = 0
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["path", "prediction", *(f"probability:{name}" for name in class_names)]
            )
            for batch in batches:
                for path, probabilities in zip(
                    batch["paths"], batch["probabilities"].tolist(), strict=True
                ):
                    best = max(range(len(class_names)), key=probabilities.__getitem__)
                    writer.writerow([path, class_names[best], *(f"{p:.6g}" for p in probabilities)])
                    rows += 1
        partial.replace(output)
    except OSError as error:
        raise PermissionError(
            f"Cannot write {str(output)!r}: {error.strerror}. Set --output to another file."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return rows
