"""Tables of prediction sets: how often they hold the class, and how large they are."""

import math
from collections.abc import Sequence

from tltool.evaluation.measured_limits import MeasuredLimits
from tltool.reporting.tables import FactTable


def set_table(found: MeasuredLimits, class_names: Sequence[str]) -> FactTable:
    """Return one row for each coverage that was asked.

    Args:
        found: What was measured.
        class_names: Names of the classes.
    """
    rows = []
    for asked, counts in found.sets.items():
        classes = zip(counts.class_coverage, class_names, strict=True)
        worst, name = min((share, name) for share, name in classes if not math.isnan(share))
        rows.append(
            (
                f"{asked:.2f}",
                f"{counts.coverage:.3f}",
                f"{counts.size:.2f}",
                f"{counts.single_share:.3f}",
                f"{worst:.3f} ({name})",
            )
        )
    columns = ("asked coverage", "coverage", "classes in a set", "sets of one", "lowest of a class")
    return FactTable(columns, rows, (0, 1, 2, 3))
