"""Markdown of texts and tables that hold names of users: no name becomes markup."""

import re

from tltool._plain_text import one_line
from tltool.reporting.tables import FactTable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")


def markdown_text(text: object) -> str:
    r"""Return a text on one line that is shown as it is.

    Example:
        >>> print(markdown_text("a|b_c"))
        a\|b\_c
    """
    return _MARKUP.sub(r"\\\1", one_line(text))


def markdown_table(facts: FactTable) -> list[str]:
    """Return the lines of a table.

    Example:
        >>> markdown_table(FactTable(["class", "images"], [["ants", 12]], [1]))
        ['| class | images |', '| --- | ---: |', '| ants | 12 |']
    """
    rules = ["---:" if index in facts.numbers else "---" for index in range(len(facts.columns))]
    rows = [[*map(markdown_text, row)] for row in (facts.headings, *facts.cells)]
    rows.insert(1, rules)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [*lines, "", markdown_text(facts.note)] if facts.note else lines


def code_block(text: str, language: str) -> list[str]:
    """Return the lines of a block of code, whose fence no line of it can close."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", text.rstrip("\n"), fence]
