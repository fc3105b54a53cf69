"""The short help of `tltool fit`, and the names of commands and options; without torch.

The parser knows all options (``--help_all``). The page has those that most runs need, in the
order in which a user needs them; a test compares it with the parser.
"""

import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
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


def wrong_flag(words: Sequence[str], *, is_fit: bool = False) -> str | None:
    """Return an error that offers the right option for the first flag that is not one.

    Args:
        words: What stands behind the command.
        is_fit: Whether the options of ``fit`` are all that there are.

    Example:
        >>> wrong_flag(["images", "--epochs=3"])
        'There is no --epochs. Did you mean --trainer.max_epochs?'
        >>> wrong_flag(["images", "--seed-everything", "3"], is_fit=True)
        'There is no --seed-everything. Did you mean --seed_everything?'
        >>> wrong_flag(["images", "--trainer.max_epochs=3"], is_fit=True)
    """
    page = page_options()
    sections = {"help", "help_all", *(key.partition(".")[0] for key in page)}
    for name in (word[2:].partition("=")[0] for word in words if word.startswith("--")):
        section, dot, rest = name.partition(".")
        near = usual_word(name)
        if near is None and is_fit and section not in sections:
            options = {key.rpartition(".")[2]: key for key in page}
            if dot:
                options = {known: f"{known}.{rest}" for known in sections}
            close = get_close_matches(section, options, n=1)
            near = options[close[0]] if close else None  # The parser knows more.
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
