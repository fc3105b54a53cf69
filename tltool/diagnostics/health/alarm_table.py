"""The alarms of a run as a table: what was ill, where and when, and what helps."""

from collections.abc import Sequence
from pathlib import Path

from tltool.diagnostics.health.alarms import Alarm
from tltool.monitoring.step_rows import StepRows

NAME = "alarms.csv"
COLUMNS = ("step", "epoch", "cause", "layer", "message")


class AlarmTable:
    """Writes ``alarms.csv`` of a run: one row for each cause. No file means no alarm.

    Args:
        folder: The run's folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> AlarmTable(folder).add(7, 0, [Alarm("saturation", "head.hidden.0", "it is saturated.")])
        >>> print((folder / NAME).read_text(), end="")
        step,epoch,cause,layer,message
        7,0,saturation,head.hidden.0,it is saturated.
    """

    def __init__(self, folder: Path) -> None:
        self._rows = StepRows(folder / NAME, COLUMNS)

    def drop_from(self, step: int) -> None:
        """Drop the alarms that a resumed run will raise again."""
        self._rows.drop_from(step)

    def add(self, step: int, epoch: int, alarms: Sequence[Alarm]) -> None:
        """Append the new alarms of a window, if there are any."""
        if alarms:
            place = {"step": step, "epoch": epoch}
            self._rows.append([place | vars(alarm) for alarm in alarms])
