"""Markdown of texts, tables and code that hold names of users: no name becomes markup."""

import re

from tltool._plain_text import one_line
from tltool.reporting.tables import FactTable

# An underscore inside a word is no markup.
_MARKUP = re.compile(r"[\\`*\[\]$~|]|(?<![^\W_])_|_(?![^\W_])")


def markdown_text(text: object) -> str:
    r"""Return a text on one line that is shown as it is, in a cell of a table too.

    Example:
        >>> print(markdown_text("a|b <c>"))
        a\|b &lt;c>
    """
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return " ".join(_MARKUP.sub(r"\\\g<0>", plain).split())


def markdown_table(facts: FactTable) -> str:
    r"""Return a table in Markdown, with what would end a cell, or begin markup or HTML, escaped.

    Example:
        >>> print(markdown_table(FactTable(["class", "p"], [["a|b", "< 0.001"], ["*[x](y)", 1]])))
        | class | p |
        | --- | --- |
        | a\|b | &lt; 0.001 |
        | \*\[x\](y) | 1 |
    """
    head, *rows = ([markdown_text(text) for text in row] for row in [facts.headings, *facts.cells])
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([*lines, *(["", markdown_text(facts.note)] if facts.note else [])])


def code_block(text: str, language: str) -> list[str]:
    """Return the lines of a block of code, whose fence no line of it can close."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", text.rstrip("\n"), fence]
