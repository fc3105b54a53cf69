"""Progress bar of a loop, on the standard error."""

from collections.abc import Iterable
from typing import TypeVar

from rich.markup import escape
from rich.progress import track

from tltool._plain_text import one_line, plain_console

T = TypeVar("T")


def with_progress(
    steps: Iterable[T], description: str, *, total: int | None = None, show: bool = True
) -> Iterable[T]:
    """Show a progress bar on the standard error, which goes when all is done.

    Where that is no terminal there is none: it would leave empty lines in a log.

    Args:
        steps: What is looped over.
        description: What the bar says.
        total: Number of steps, where they do not know it.
        show: Whether there is a bar.

    Example:
        >>> list(with_progress([3, 5], "counting", show=False))
        [3, 5]
    """
    title = escape(one_line(description))  # The bar reads markup on any console.
    console = plain_console(stderr=True)
    hidden = not (show and console.is_terminal)
    return track(steps, title, total=total, console=console, transient=True, disable=hidden)
