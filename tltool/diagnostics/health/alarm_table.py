"""Alarms of a run as a table, ``alarms.csv``: cause, layer, step, and a suggested fix."""

from collections.abc import Sequence
from pathlib import Path

from tltool._csv_rows import StepRows
from tltool.diagnostics.health.alarms import Alarm

NAME = "alarms.csv"
COLUMNS = ("step", "epoch", "cause", "layer", "message")


class AlarmTable(StepRows):
    """Writes ``alarms.csv`` of a run: one row for each cause. No file means no alarm.

    Args:
        run_dir: The run directory.

    Example:
        >>> import tempfile
        >>> run_dir = Path(tempfile.mkdtemp())
        >>> alarm = Alarm("saturation", "head.hidden.0", "it is saturated.")
        >>> AlarmTable(run_dir).add(7, 0, [alarm])
        >>> print((run_dir / NAME).read_text(), end="")
        step,epoch,cause,layer,message
        7,0,saturation,head.hidden.0,it is saturated.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir / NAME, COLUMNS)

    def add(self, step: int, epoch: int, alarms: Sequence[Alarm]) -> None:
        """Append the new alarms of a window, if there are any."""
        if alarms:
            self.append([{"step": step, "epoch": epoch} | vars(alarm) for alarm in alarms])
