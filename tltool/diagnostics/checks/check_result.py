"""The result of a check: its status, what was found, and a suggested fix."""

import functools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

#: ``warning`` is for what may be meant; ``failed`` for what is wrong in any run.
Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        check: What was looked at, in a word or two.
        status: Whether it is as it should be.
        found: What was seen, with numbers.
        remedy: The suggested fix, what to type or to change; empty where nothing is to be done.

    Example:
        >>> CheckResult("learning rate", "failed", "It is 0.", "--optimizer.lr 1e-3").status
        'failed'
    """

    check: str
    status: Status
    found: str
    remedy: str = ""


class Check(str):
    """The name of a check, which makes its results.

    Example:
        >>> result = Check("readable").problem("broken", broken=1, read=9, reasons="a.png is empty")
        >>> result.status, result.found
        ('failed', '1 of 9 images are broken. a.png is empty.')
    """

    def ok(self, found: str) -> CheckResult:
        """Return that nothing is to be done."""
        return CheckResult(self, "ok", found)

    def problem(self, kind: str, *, is_failure: bool = True, **words: object) -> CheckResult:
        """Return a problem with its sentences from ``findings.toml``.

        Args:
            kind: Its key in the table of this check.
            is_failure: Whether it is as bad as the table says; else it is a warning.
            **words: What the braces of the sentences stand for.
        """
        entry = findings()[self][kind]
        found, remedy = (entry[part].format(**words) for part in ("found", "remedy"))
        return CheckResult(self, entry["status"] if is_failure else "warning", found, remedy)


@functools.cache
def findings() -> dict[str, dict[str, Any]]:
    """Return the problems of each check: status, what was found, and remedy, by kind."""
    return tomllib.loads((resources.files(__package__) / "findings.toml").read_text("utf-8"))


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names in a line, only the first of many.

    Example:
        >>> listed(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
