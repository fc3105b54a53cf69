"""CSV logger: the metrics of a run in a file that survives a kill and a resume."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from tltool._csv_rows import StepRows, read_rows
from tltool.training.epoch_position import read_position

_LAST_ROW = "last_row"  # the key in a checkpoint
_PLACE = ("epoch", "step")


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
        """Nothing, so that checkpoints of a user's callbacks lie in the run's ``checkpoints``."""
        return ""

    @property
    def version(self) -> str:
        """Nothing, see `name`: the directory is of one run."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.run_dir)

    @property
    def _last(self) -> dict[str, str]:
        return self._new[-1] if self._new else self._saved or {}

    @rank_zero_only
    def state(self) -> dict[str, str]:
        """Return the last row, for a checkpoint."""
        self._take_up()
        return {name: value for name, value in self._last.items() if value}

    def resume(
        self, step: int, last: Mapping[str, str] | None, keeps: Callable[[str], bool]
    ) -> None:
        """Go on with the rows of a checkpoint, once there is something to log.

        Args:
            step: The last one whose row is kept.
            last: What `state` returned then; ``None`` to keep all rows up to ``step``.
            keeps: Tells by its name whether a value of ``step`` that was logged behind the
                checkpoint stays, for it will not come again.
        """
        self._resumes = {"step": step, "last": last, "keeps": keeps}

    def _take_up(self) -> None:
        """Drop the rows behind the checkpoint of a resumed run, which has begun to train."""
        resumes, self._resumes = self._resumes, None
        if resumes is not None and self.path.is_file():
            rows = [{n: v for n, v in row.items() if v} for row in read_rows(self.path)]
            kept = _rows_until(rows, **resumes)
            self._table.replace(kept)
            self._saved = kept[-1] if kept else None

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row, or add to the last row of the same step; `save` writes it."""
        self._take_up()
        last = self._last
        if not last:
            self._table.drop_from(step or 0)
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
        checkpoint[_LAST_ROW] = logger.state() or {}  # None on other ranks, whose is not written


def resume_rows(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Let ``metrics.csv`` go on where a checkpoint was written, if it is not of weights alone."""
    if "loops" not in checkpoint:
        return
    position, done = read_position(checkpoint["loops"]["fit_loop"]), checkpoint["global_step"]
    is_step_begun = not position.is_over and position.batches % trainer.accumulate_grad_batches
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
    logs_step = bool(every) and done % every == 0 and not is_step_begun

    def keeps(name: str) -> bool:
        if name.startswith("health/"):  # Of an epoch, whose steps are not looked at again.
            return position.is_over
        return logs_step and not name.startswith(("train/", "val/"))

    # Between epochs all rows of the steps that are done are whole.
    last = checkpoint.get(_LAST_ROW) if position.batches else None
    for logger in _csv_loggers(trainer):
        logger.resume(done if is_step_begun else done - 1, last, keeps)


def _rows_until(
    rows: list[dict[str, str]],
    step: int,
    last: Mapping[str, str] | None,
    keeps: Callable[[str], bool],
) -> list[dict[str, str]]:
    """Return the rows that a checkpoint has seen, and what stays of its step.

    The arguments are those of `CSVMetrics.resume`. What goes is what will be logged again, or was
    logged when training ended inside an epoch: the values of a part of it, and of a validation that
    was not its turn.

    Example:
        >>> rows = [{"step": "3", "val/loss": "0.4"}, {"step": "7", "lr": "0.1", "val/loss": "0.3"}]
        >>> _rows_until(rows, 7, rows[0], lambda name: name == "lr")
        [{'step': '3', 'val/loss': '0.4'}, {'step': '7', 'lr': '0.1'}]
    """
    seen = next((i for i, row in enumerate(rows) if last and last.items() <= row.items()), None)
    if last is None or (last and seen is None):
        return [row for row in rows if int(row["step"]) <= step]
    kept = [] if seen is None else [*rows[:seen], dict(last)]
    grown = next((row for row in rows[seen or 0 :] if row["step"] == str(step)), {})
    own = {name: value for name, value in grown.items() if name in _PLACE or keeps(name)}
    if own.keys() - _PLACE:
        if kept and kept[-1]["step"] == str(step):
            own |= kept.pop()
        kept.append(own)
    return kept


def _csv_loggers(trainer: Trainer) -> list[CSVMetrics]:
    return [logger for logger in trainer.loggers if isinstance(logger, CSVMetrics)]
