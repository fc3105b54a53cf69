"""Progress of a loop: a bar on the standard error, or a line of a notebook."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.markup import escape
from rich.progress import track

from tltool._plain_text import one_line, plain_console

T = TypeVar("T")
_PAUSE = 0.2  # seconds between two looks at a line


def with_progress(
    steps: Iterable[T], description: str, *, total: int | None = None, show: bool = True
) -> Iterable[T]:
    """Show a progress bar on the standard error, which goes when all is done.

    Where that is no terminal there is none: it would leave empty lines in a log. A notebook has one
    line that changes, for bars of rich need widgets there, and warn where these are missing.

    Args:
        steps: What is looped over.
        description: What the bar says.
        total: Number of steps, where they do not know it.
        show: Whether there is a bar.

    Example:
        >>> list(with_progress([3, 5], "counting", show=False))
        [3, 5]
    """
    if show and is_notebook():
        return _in_one_line(steps, one_line(description), total)
    title = escape(one_line(description))  # The bar reads markup on any console.
    console = plain_console(stderr=True)
    hidden = not (show and console.is_terminal)
    return track(steps, title, total=total, console=console, transient=True, disable=hidden)


def is_notebook() -> bool:
    """Tell whether what is printed goes into a notebook, as Jupyter and Colab have it."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


def _in_one_line(steps: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    """Print the share that is done over what was printed before; at the end the line is empty."""
    total = len(steps) if total is None and isinstance(steps, Sized) else total
    shown_at, width = 0.0, 0
    try:
        for number, step in enumerate(steps):
            if time.monotonic() - shown_at > _PAUSE:
                line = f"{title} {number / total:.0%}" if total else f"{title} {number}"
                print(f"\r{line}", end="", flush=True)
                shown_at, width = time.monotonic(), max(width, len(line))
            yield step
    finally:
        print(f"\r{' ' * width}\r", end="", flush=True)
