"""Help of the argument parser: of one command, one section, or everything."""

import argparse
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from tltool.cli.help_page import page_options
from tltool.cli.parser_errors import nearest

if TYPE_CHECKING:
    from tltool.cli.parser import Parser


def asked_help(parser: "Parser", words: Sequence[str]) -> str | None:
    """Return the help that a command line asks for; ``None`` if it asks for none.

    Args:
        parser: The parser of the command.
        words: ``--help`` for the options of this command alone, ``--help_all`` for all, or
            ``--help_section`` and a section's name.
    """
    if "--help_all" in words:
        return parser.format_help()
    if "--help_section" in words:
        return _section_help(parser, words[words.index("--help_section") + 1])
    if "-h" in words or "--help" in words:
        return _own_help(parser)
    return None


def _own_help(parser: "Parser") -> str:
    """Return the help of the options that ``fit`` has not."""
    is_run = any(action.dest == "model.head" for action in parser._actions)
    page = page_options() if is_run else ("data", "trainer")
    usual = {"help", *(key.partition(".")[0] for key in page)}
    own = [action for action in parser._actions if action.dest.partition(".")[0] not in usual]
    others = "The options of fit" if is_run else "The sections data and trainer of fit"
    hint = f"{others} too, see tltool fit --help; --help_all for everything"
    return f"{_help_of(parser, own)}\n\n{hint}"


def _section_help(parser: "Parser", section: str) -> str:
    default = parser.get_defaults().get(section)
    if isinstance(default, Namespace) and "class_path" in default:
        parser.parse_args([f"--{section}.help={default.class_path}"])  # It ends here.
    actions = [a for a in parser._actions if f"{a.dest}.".startswith(f"{section}.")]
    if not actions:
        sections = sorted({action.dest.partition(".")[0] for action in parser._actions})
        parser.error(f"There is no section {section!r}.{nearest(section, sections)}")
    return _help_of(parser, actions)


def _help_of(parser: "Parser", actions: Sequence[argparse.Action]) -> str:
    lines = [
        f"usage: {parser.prog} {parser.given} [options]\n",
        *textwrap.wrap(parser.description or "", 80),
        "What stands behind an option is its default, or a word in capitals.\n",
    ]
    for action in actions:
        if action.option_strings and not action.dest.endswith(".help"):
            lines += _help_lines(parser, action)
    return "\n".join(lines)


def _help_lines(parser: "Parser", action: argparse.Action) -> list[str]:
    """Return an option, what stands behind it, and its help, in 80 columns."""
    value, default = "", action.default
    if isinstance(default, Namespace | dict) and "class_path" in default:
        default = default["class_path"].rpartition(".")[2]
    if action.nargs != 0 and action.dest != "print_config":
        is_given = default not in (None, [], argparse.SUPPRESS)
        name = re.split(r"[._]", action.dest)[-1].upper()
        value = str(default) if is_given else name
    head, text = f"  --{action.dest} {value}", action.help or ""
    if action.dest in parser.known_classes:
        text += f" {', '.join(cls.__name__ for cls in parser.known_classes[action.dest])}."
    lines = textwrap.wrap(text, 46) or [""]
    if len(head) > 32:
        return [head, *(f"{'':33}{line}" for line in lines)]
    return [f"{head:<33}{lines[0]}", *(f"{'':33}{line}" for line in lines[1:])]
