"""Results of the benchmarks: kept in a file, so that a script goes on where it stopped.

They know their data by name alone: delete runs/benchmark when a split or a recipe has changed.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path("runs/benchmark")
SEEDS = range(3)

Row = dict[str, Any]


def kept(file: Path, key: Row, compute: Callable[[], Row]) -> Row:
    """Return the result of a fit: from the file if it is there, else computed and appended.

    Args:
        file: One JSON object a line.
        key: What the fit is; plain data.
        compute: Does the fit.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text().splitlines() if file.is_file() else []
    rows: Iterable[Row] = map(json.loads, lines)
    for row in rows:
        if row["key"] == key:
            found: Row = row["result"]
            return found
    start = time.strftime("%H:%M:%S")
    result = compute()
    with file.open("a") as output:
        output.write(json.dumps({"key": key, "result": result}) + "\n")
    print(start, key, result, file=sys.stderr, flush=True)
    return result


def mean_and_spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over the seeds, such as ``0.948 +- 0.012``."""
    return f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f}"
