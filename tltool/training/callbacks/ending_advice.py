"""What to type where a run was over before its `Ending` has chosen anything."""

from collections.abc import Sequence
from pathlib import Path

from tltool._plain_text import shell_command
from tltool.training.callbacks.ending_contest import Average
from tltool.training.weight_blends import POINTS


def merge_advice(
    run_dir: Path, average: Average, points: Sequence[float], choose: str, *, has_start: bool
) -> str:
    """Return the command that holds the contest of an `Ending` now, and how the two differ.

    Args:
        run_dir: The directory of the run.
        average: See `Ending`.
        points: See `Ending`.
        choose: See `Ending`.
        has_start: Whether the start competes.

    Example:
        >>> print(merge_advice(Path("runs/a"), "none", POINTS, "best", has_start=True))
        The last epoch competes there too. Type: tltool merge runs/a --average wise_ft --points 0
    """
    if average == "soup":
        unused = "" if choose == "best" else f", so `choose: {choose}` has no use"
        differs = f"The start does not compete there{unused}. " if has_start else ""
        words = ["--average", "soup"]
    else:
        differs = "The last epoch competes there too. " if average == "none" else ""
        own = [0] if average == "none" else points
        given = [] if set(own) == set(POINTS) else ["--points", *map(str, own)]
        rule = [] if choose == "best" else ["--choose", choose]
        words = ["--average", "wise_ft", *given, *rule]
    return f"{differs}Type: {shell_command('tltool', 'merge', run_dir, *words)}"
