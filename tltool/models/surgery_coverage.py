"""What surgery and training do to timm's networks: a table with one network of each module."""

import functools
from importlib import resources
from pathlib import Path

from tltool._csv_rows import read_rows

TABLE = Path(str(resources.files("tltool.models") / "surgery_coverage.csv"))
#: What a column holds where all went well; else the reason.
PASSED = "yes"
#: The columns that tell what came of each part, and what it is called.
RESULTS = {
    "state_dict": "keys and values kept",
    "reload": "the same after a reload",
    "gradients": "finite gradients",
    "frozen": "frozen groups unchanged",
    "fit": "a step of tltool fit",
}
COLUMNS = ("family", "backbone", "img_size", "activations", "swapped", "kept", *RESULTS)


@functools.cache
def coverage_table() -> dict[str, dict[str, str]]:
    """Return the rows of the table by the module of timm, as `scripts/surgery_coverage.py` wrote.

    Example:
        >>> row = coverage_table()["resnet"]
        >>> row["backbone"], row["swapped"], row["activations"], row["fit"]
        ('test_resnet', '12', '12', 'yes')
    """
    return {row["family"]: row for row in read_rows(TABLE)} if TABLE.is_file() else {}


def describe_coverage(family: str) -> list[str]:
    """Return what came of surgery and training, tried on one network of a module of timm.

    Returns:
        Two lines; none for a module that is not in the table.

    Example:
        >>> for line in describe_coverage("byobnet"):
        ...     print(line)
        surgery  14 of 18 activations of test_byobnet swapped (kept 4 gates)
        tried    keys and values kept, the same after a reload, finite gradients, ...
    """
    row = coverage_table().get(family)
    if row is None:
        return []
    kept = f" (kept {row['kept']})" if row["kept"] else ""
    passed = [what for column, what in RESULTS.items() if row[column] == PASSED]
    failed = [f"{column}: {row[column]}" for column in RESULTS if row[column] not in ("", PASSED)]
    return [
        f"surgery  {row['swapped']} of {row['activations']} activations of {row['backbone']} "
        f"swapped{kept}",
        "; not ".join([f"tried    {', '.join(passed)}", *failed]),
    ]
