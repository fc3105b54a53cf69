"""CSV logger: the metrics of a run in a file that survives a kill and a resume."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from tltool._csv_rows import StepRows, read_rows
from tltool.training.epoch_position import read_position

_LAST_ROW = "last_row"  # the key in a checkpoint
_PLACE = ("epoch", "step")
_OF_PARTS = ("train/", "val/", "health/")  # names of what is measured over an epoch or a part of it


class CSVMetrics(Logger):
    """Write ``metrics.csv``: one row for each step and epoch at which something was logged.

    Lightning's own CSVLogger deletes the file when a run is resumed; this one goes on with it and
    drops what the resumed run will write again, and nothing of the epochs before.

    Args:
        run_dir: The run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.path = run_dir / "metrics.csv"
        self._table = StepRows(self.path, _PLACE)
        self._saved: dict[str, str] | None = None  # the last row on the disk, which may still grow
        self._has_grown = False
        self._new: list[dict[str, str]] = []
        self._resumes: dict[str, Any] | None = None

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

    @property
    def _last(self) -> dict[str, str]:
        return self._new[-1] if self._new else self._saved or {}

    def state(self) -> dict[str, str]:
        """Return the last row, for a checkpoint."""
        return dict((self._resumes["last"] or {}) if self._resumes else self._last)

    def resume(self, step: int, last: Mapping[str, str] | None, dropped: tuple[str, ...]) -> None:
        """Go on with the rows of a checkpoint, once there is something to log.

        Args:
            step: The last one whose row is kept.
            last: What `state` returned then; ``None`` where that is not known.
            dropped: How names begin that its row loses, unless they are in ``last``.
        """
        self._resumes = {"step": step, "last": last, "dropped": dropped}

    def _drop_rest(
        self, step: int, last: Mapping[str, str] | None, dropped: tuple[str, ...]
    ) -> None:
        if not self.path.is_file():
            return
        rows = [row for row in read_rows(self.path) if int(row["step"]) <= step]
        if dropped and rows and int(rows[-1]["step"]) == step:
            row = {name: value for name, value in rows.pop().items() if value}
            known = last if last and last["step"] == row["step"] else _PLACE
            row = {name: row[name] for name in row if name in known or not name.startswith(dropped)}
            if row.keys() - _PLACE:
                self._saved = row
                rows.append(row)
        self._table.replace(rows)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row, or add to the last row of the same step; `save` writes it."""
        if self._resumes is not None:
            self._drop_rest(**self._resumes)
            self._resumes = None
        elif not self._last:
            self._table.drop_from(step or 0)
        last = self._last
        values = {name: repr(float(value)) for name, value in metrics.items()}
        row = {"epoch": "", "step": str(step or 0)} | values
        if "epoch" in metrics:
            row["epoch"] = str(int(metrics["epoch"]))
        again = values.keys() - {"epoch"}
        if not last or last["step"] != row["step"] or again & last.keys():
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


def add_last_row(checkpoint: dict[str, Any], trainer: Trainer) -> None:
    """Store the last row of ``metrics.csv`` in a checkpoint."""
    for logger in _csv_loggers(trainer):
        checkpoint[_LAST_ROW] = logger.state()


def resume_rows(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Let ``metrics.csv`` go on where a checkpoint was written.

    Inside an epoch, the values of its end are dropped, which were of a part of it or will come
    again, and so are those of a validation after the checkpoint.
    """
    position, done = read_position(checkpoint["loops"]["fit_loop"]), checkpoint["global_step"]
    is_step_begun = not position.is_over and position.batches % trainer.accumulate_grad_batches
    last = checkpoint.get(_LAST_ROW)
    dropped: tuple[str, ...] = ()
    if position.batches:
        dropped = ("train/",) if last is None else _OF_PARTS
    for logger in _csv_loggers(trainer):
        if is_step_begun:
            logger.resume(done, last, ("",))
        else:
            logger.resume(done - 1, last, dropped)


def _csv_loggers(trainer: Trainer) -> list[CSVMetrics]:
    return [logger for logger in trainer.loggers if isinstance(logger, CSVMetrics)]
