"""Which of timm's networks are cut in front of their last two layer groups, and what does it save?

One network for each module of timm, the one with the fewest parameters, with random weights, at 64
pixels where it takes them. Nothing is timed: the factor is that of the operations of a training
step, see `compute_factor`. Results are kept in runs/benchmark/activation_cuts.jsonl, so that the
script goes on where it stopped; delete the file when timm or the cut has changed. Takes 5 minutes.

Run: python scripts/benchmark/activation_cuts.py [FAMILY ...]
"""

import sys
import warnings
from dataclasses import asdict

import timm
from fits import quiet
from results import FOLDER, Row, kept

from tltool.features.cut_survey import report_cut
from tltool.models.timm_catalog import smallest_of_each_family

NUM_GROUPS = 2


def main() -> None:
    """Print a row for each module of timm, and how many are cut."""
    families = smallest_of_each_family()
    rows = [row_of(family, families[family]) for family in sys.argv[1:] or families]
    print("| module of timm | network | px | trained | cut behind | factor | kB an image |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cut = row["boundary"].removeprefix("model.") or f"not: {row['reason']}"
        print(
            f"| {row['family']} | {row['name']} | {row['img_size']} | {', '.join(row['trains'])} "
            f"| {cut} | {row['factor']:.1f} | {row['size'] / 1000:.0f} |"
        )
    number = sum(bool(row["boundary"]) for row in rows)
    saving = sum(row["factor"] >= 1.5 for row in rows)
    print(f"\n{number} of {len(rows)} are cut, {saving} with a factor of at least 1.5.")


def row_of(family: str, name: str) -> Row:
    """Return the report of a network, from the file if it is there."""

    def compute() -> Row:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")  # Of networks that are old, or large.
            return asdict(report_cut(name, num_groups=NUM_GROUPS))

    key = {"name": name, "num_groups": NUM_GROUPS, "timm": timm.__version__}
    return {"family": family, **kept(FOLDER / "activation_cuts.jsonl", key, compute)}


if __name__ == "__main__":
    main()
