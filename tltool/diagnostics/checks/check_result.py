"""The result of a check: its status, what was found, and a suggested fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]
"""``warning`` is for what may be meant; ``failed`` for what is wrong in any run."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        check: What was looked at, in a word or two.
        status: Whether it is as it should be.
        found: What was seen, with numbers.
        remedy: The suggested fix, what to type or to change; empty where nothing is to be done.

    Example:
        >>> CheckResult("learning rate", "failed", "It is 0.", "--optimizer.lr 1e-3").is_good
        False
    """

    check: str
    status: Status
    found: str
    remedy: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is to be done."""
        return self.status == "ok"


class Check(str):
    """The name of a check, which makes its results.

    Example:
        >>> Check("memory").failed("It needs 9 GiB.", "--data.batch_size 8").status
        'failed'
    """

    def ok(self, found: str) -> CheckResult:
        """Return that nothing is to be done."""
        return CheckResult(self, "ok", found)

    def warning(self, found: str, remedy: str) -> CheckResult:
        """Return what may be meant."""
        return CheckResult(self, "warning", found, remedy)

    def failed(self, found: str, remedy: str) -> CheckResult:
        """Return what is wrong in any run."""
        return CheckResult(self, "failed", found, remedy)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names in a line, only the first of many.

    Example:
        >>> listed(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
