"""The metrics of a run as a CSV file that survives a kill and goes on after a resume."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from tltool.whole_file import write_whole


class CSVMetrics(Logger):
    """Write ``metrics.csv``: one row for each step and epoch at which something was logged.

    Lightning's own CSVLogger deletes the file when a run is resumed; this one goes on with it and
    drops the rows that the resumed run will write again.

    Args:
        run_folder: The run's folder.
    """

    def __init__(self, run_folder: Path) -> None:
        super().__init__()
        self.run_folder = run_folder
        self.path = run_folder / "metrics.csv"
        self._rows: list[dict[str, str]] | None = None
        self._columns: list[str] = []
        self._done = ""  # the text of the header and of all rows but the last
        self._num_done = 0

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run_folder.parent.name

    @property
    def version(self) -> str:
        """The run's number."""
        return self.run_folder.name

    @property
    def log_dir(self) -> str:
        """The run's folder, where the configuration is kept."""
        return str(self.run_folder)

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.run_folder)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row, or add to the last row of the same step; `save` writes it."""
        step = step or 0
        if self._rows is None:
            self._rows = self._read_before(step)
        values = {name: repr(float(value)) for name, value in metrics.items() if name != "epoch"}
        if "epoch" in metrics:
            values["epoch"] = str(int(metrics["epoch"]))
        if (
            self._rows
            and self._rows[-1]["step"] == str(step)
            and not values.keys() & (self._rows[-1].keys() - {"epoch"})
        ):
            self._rows[-1] |= values
        else:
            self._rows.append({"epoch": "", "step": str(step)} | values)

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged; Lightning calls this after each epoch's and step's own metrics."""
        if self._rows:
            write_whole(self.path, self._text(self._rows))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what was logged last."""
        self.save()

    def _read_before(self, step: int) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [
            {k: v for k, v in row.items() if v or k == "epoch"}
            for row in rows
            if int(row["step"]) < step
        ]

    def _text(self, rows: list[dict[str, str]]) -> str:
        columns = list(dict.fromkeys(["epoch", "step", *(name for row in rows for name in row)]))
        if columns != self._columns:
            self._columns, self._done, self._num_done = columns, _csv_text([columns]), 0
        cells = [[row.get(name, "") for name in columns] for row in rows[self._num_done :]]
        # Only the last row may still grow: the others become text once, however long a run is.
        self._done += _csv_text(cells[:-1])
        self._num_done = len(rows) - 1
        return self._done + _csv_text(cells[-1:])


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
