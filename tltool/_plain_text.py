"""Text of a user as it is: on one line, on a console without markup, and in commands to type."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Control characters, ends of lines and paragraphs, what turns the direction of writing around, and
# bytes that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: object) -> str:
    r"""Return a text with an escape for each character that would not stay in its place.

    Names of classes and files may hold any character: a newline would tear a table apart, an
    escape code would color the rest of the terminal.

    Example:
        >>> print(one_line("red\n\x1b[31mdog K\udce4fer"))
        red\n\x1b[31mdog K\xe4fer
    """
    return _UNPRINTABLE.sub(lambda found: _escape(found[0]), str(text))


def plain_lines(text: str) -> str:
    r"""Return a text of several lines with all else escaped that would not stay in its place.

    Example:
        >>> print(plain_lines("one\n\x1b[2Jtwo"))
        one
        \x1b[2Jtwo
    """
    return "\n".join(map(one_line, text.split("\n")))


def shell_command(*words: str | Path) -> str:
    r"""Return a command to type, of which the shell makes these words again.

    Example:
        >>> print(shell_command("tltool", "report", Path("my runs/it's [1]")))
        tltool report 'my runs/it'"'"'s [1]'
        >>> print(shell_command("tltool", "report", Path("two\nlines")))
        tltool report $'two\x0alines'
    """
    return " ".join(map(_quoted, words))


def pixel_size(input_size: Sequence[int]) -> str:
    """Return the size of images in pixels: one number for a square, else height and width.

    Args:
        input_size: Channels, height and width; empty where they are not known.

    Example:
        >>> pixel_size((3, 224, 224)), pixel_size((3, 160, 224)), pixel_size(())
        ('224', '160 x 224', '')
    """
    edges = input_size[1:]
    return " x ".join(map(str, edges[:1] if len(set(edges)) == 1 else edges))


def plain_console(*, stderr: bool = False) -> "Console":
    """Return a console that takes no text for markup, numbers or emoji."""
    from rich.console import Console  # Here, for the overview of commands needs none.

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # A byte, as Python reads names of files.
        return f"\\x{ord(character) - 0xDC00:02x}"
    return repr(character)[1:-1]


def _quoted(word: str | Path) -> str:
    text = str(word)
    if isinstance(word, Path) and text.startswith("-"):
        text = f"./{text}"  # Else it were an option.
    if not _UNPRINTABLE.search(text):
        return shlex.quote(text)
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{_UNPRINTABLE.sub(_as_bytes, text)}'"


def _as_bytes(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogateescape"))
