"""Count the parameters of timm's models and keep them in a table, after an update of timm.

Models that are in the table are not counted again, unless they are named. Takes minutes for all.

Run: python scripts/parameter_counts.py [NAME ...]
"""

import sys
from importlib import resources
from pathlib import Path

import timm

from tltool._atomic_write import write_whole
from tltool.models.timm_catalog import build_and_count

TABLE = Path(str(resources.files("tltool.models") / "parameter_counts.csv"))


def main() -> None:
    """Write the table, sorted by name."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()[1:] if TABLE.is_file() else []
    counts = {name: int(count) for name, count in (line.split(",") for line in lines)}
    for name in sys.argv[1:] or timm.list_models():
        if name not in counts or sys.argv[1:]:
            counts[name] = build_and_count(name)
            print(name, counts[name], flush=True)
    rows = [f"{name},{counts[name]}" for name in sorted(counts)]
    write_whole(TABLE, "\n".join(["backbone,parameters", *rows]) + "\n")


if __name__ == "__main__":
    main()
