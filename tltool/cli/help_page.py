"""The short help of `tltool fit`, and the names of commands and options; without torch.

The parser knows all options (``--help_all``). The page has those that most runs need, in the
order in which a user needs them; a test compares it with the parser.
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parent
PAGE = (_HERE / "fit_help.txt").read_text(encoding="utf-8")
NAMES = tomllib.loads((_HERE / "command_names.toml").read_text(encoding="utf-8"))
"""The commands and what each does, and what other programs call commands and options."""


def usual_word(name: str) -> str | None:
    """Return the option that other programs call so.

    Example:
        >>> usual_word("epoch"), usual_word("batch-size")
        ('trainer.max_epochs', 'data.batch_size')
    """
    name, options = name.replace("-", "_"), NAMES["foreign_options"]
    found: str | None = options.get(name) or options.get(f"{name}s")
    return found


def foreign_flag(words: Sequence[str]) -> str | None:
    """Return an error that offers the right option for the first flag of another program.

    Example:
        >>> foreign_flag(["images", "--epochs=3"])
        'There is no --epochs. Did you mean --trainer.max_epochs?'
        >>> foreign_flag(["images", "--trainer.max_epochs=3"])
    """
    for word in words:
        name = word[2:].partition("=")[0]
        near = usual_word(name) if word.startswith("--") else None
        if near is not None:
            return f"There is no --{name}. Did you mean --{near}?"
    return None


def page_options() -> dict[str, str]:
    """Return what stands behind each option of the page: its default, or a word for a value.

    Example:
        >>> page_options()["data.batch_size"]
        '32'
    """
    lines = re.findall(r"^  --([\w.]+)((?: \S+)?)", PAGE, flags=re.MULTILINE)
    return {key: behind.strip() for key, behind in lines}
