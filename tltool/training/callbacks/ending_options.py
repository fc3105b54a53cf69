"""Options of `Ending`: which are in their range, and which belong together."""

from collections.abc import Sequence
from typing import get_args

from tltool._lookup import lookup
from tltool.evaluation.candidates import Choice
from tltool.training.callbacks.ending_contest import Average
from tltool.training.weight_blends import POINTS, check_points

KEEP = 5


def check_options(
    average: Average, points: Sequence[float], choose: str, *, include_start: bool, keep: int
) -> None:
    """Raise if an option is out of its range, or does nothing beside the others.

    Args:
        average: See `Ending`.
        points: See `Ending`.
        choose: See `Ending`.
        include_start: See `Ending`.
        keep: See `Ending`.
    """
    lookup(dict.fromkeys(get_args(Average)), average, kind="average")
    lookup(dict.fromkeys([*get_args(Choice), "last"]), choose, kind="choice")
    if choose == "last" and (average != "none" or include_start):
        raise ValueError(
            "`ending.choose: last` takes the last epoch: nothing competes with it. Leave out "
            "`ending.average` and `ending.include_start`, or set `ending.choose` to best."
        )
    check_points(points)
    if keep < 1:
        raise ValueError(f"`keep` must be at least 1, got {keep}.")
    has_start = start_competes(average, points, include_start)
    if choose in ("trained", "one_standard_error") and not has_start:
        raise ValueError(
            f"`ending.choose: {choose}` asks for the gain over the start, which does not "
            "compete. Set `ending.include_start` to true, or `ending.average` to wise_ft with "
            "0 among `ending.points`; or leave out `ending.choose`."
        )
    _check_used("points", tuple(points) != POINTS, average, "wise_ft")
    _check_used("keep", keep != KEEP, average, "soup")


def start_competes(average: str, points: Sequence[float], include_start: bool) -> bool:
    """Tell whether the start of a run is among its candidates; for arguments, see `Ending`."""
    return include_start or (average == "wise_ft" and 0 in points)


def _check_used(name: str, is_given: bool, average: Average, needed: Average) -> None:
    """Raise if an option of one average is given beside another one."""
    if is_given and average != needed:
        raise ValueError(
            f"`ending.{name}` is of `ending.average: {needed}`, but the average is {average}. "
            "Leave out one of them."
        )
