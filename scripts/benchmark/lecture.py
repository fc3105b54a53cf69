"""Write the configs of the lecture's experiments, each with what was measured, and their README.

Takes the page's `lecture.json` of a run with all defaults (`scripts/lecture.sh`), and writes
`configs/experiment/lecture/*.yaml` and the table of claims in the README.md beside them.

Run: python scripts/benchmark/lecture.py runs/lecture/0
"""

import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from tltool.lecture.catalog import EXPERIMENTS

FOLDER = Path("configs/experiment/lecture")
DATA = {
    "data": {"class_path": "DigitsDataModule", "init_args": {"preprocessing": "none"}},
    "model": {"backbone": {"name": "pixels", "img_size": 8, "in_chans": 1}},
}


def main() -> None:
    """Write the configs and the table."""
    found = {
        row["experiment"]: row
        for row in json.loads((Path(sys.argv[1]) / "lecture.json").read_text())
    }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    FOLDER.mkdir(parents=True, exist_ok=True)
    table = ["| the lecture claims | `--lecture` | measured | verdict |", "|---|---|---|---|"]
    for experiment in EXPERIMENTS:
        row = found[experiment.name()]
        name = f"{experiment.__module__.rpartition('.')[2]}.yaml"
        header = [
            f"The lecture: {experiment.claim}",
            f"Measured ({commit}, CPU): {row['number']}.",
            f"Verdict: {row['verdict']}.",
            f"Run: tltool compare --config {FOLDER / name}",
        ]
        lines = [line for each in header for line in textwrap.wrap(each, 98)]
        settings = {
            field.name: plain(field.default)
            for field in dataclasses.fields(experiment)  # type: ignore[arg-type]
        }
        lecture = {"class_path": experiment.name(), "init_args": settings}
        config = {"lecture": lecture} | DATA
        body = yaml.safe_dump(config, sort_keys=False, default_flow_style=None)
        (FOLDER / name).write_text("\n".join(f"# {line}" for line in lines) + "\n" + body)
        table.append(
            f"| {experiment.claim} | `{experiment.name()}` | {row['number']} | {row['verdict']} |"
        )
    readme = FOLDER / "README.md"
    text, _, _ = readme.read_text().partition("| the lecture claims |")
    readme.write_text(text + "\n".join(table) + "\n")


def plain(value: Any) -> Any:
    """Return a default as plain data."""
    return [plain(item) for item in value] if isinstance(value, tuple) else value


if __name__ == "__main__":
    main()
