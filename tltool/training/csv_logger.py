"""CSV logger: the metrics of a run in a file that survives a kill and a resume."""

from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from tltool._csv_rows import StepRows


class CSVMetrics(Logger):
    """Write ``metrics.csv``: one row for each step and epoch at which something was logged.

    Lightning's own CSVLogger deletes the file when a run is resumed; this one goes on with it and
    drops the rows that the resumed run will write again.

    Args:
        run_dir: The run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.path = run_dir / "metrics.csv"
        self._table = StepRows(self.path, ["epoch", "step"])
        self._saved: dict[str, str] | None = None  # the last row on the disk, which may still grow
        self._has_grown = False
        self._new: list[dict[str, str]] = []

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run_dir.parent.name

    @property
    def version(self) -> str:
        """The run's number."""
        return self.run_dir.name

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.run_dir)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row, or add to the last row of the same step; `save` writes it."""
        last = self._new[-1] if self._new else self._saved
        if last is None:
            self._table.drop_from(step or 0)
        values = {name: repr(float(value)) for name, value in metrics.items()}
        row = {"epoch": "", "step": str(step or 0)} | values
        if "epoch" in metrics:
            row["epoch"] = str(int(metrics["epoch"]))
        again = values.keys() - {"epoch"}
        if last is None or last["step"] != row["step"] or again & last.keys():
            self._new.append(row)
        else:
            last |= {name: value for name, value in row.items() if value}
            self._has_grown |= last is self._saved

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged; Lightning calls this after each epoch's and step's own metrics."""
        if self._saved is not None and self._has_grown:
            self._table.replace_last(self._saved)
            self._has_grown = False
        if self._new:
            self._table.append(self._new)
            self._saved, self._new = self._new[-1], []

    def finalize(self, status: str) -> None:
        """Write what was logged last."""
        self.save()
