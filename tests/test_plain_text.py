import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import tltool
from tltool._plain_text import one_line, plain_console, plain_lines, shell_command

SOURCES = sorted(Path(tltool.__file__).parent.rglob("*.py"))
#: A command of tltool with something of the user's in it, in a text of Python.
COMMAND = re.compile(r"tltool (?:fit|plan|validate|test|predict|report|doctor) --?\w[^\"\n,]*\{")


@pytest.mark.parametrize(
    "word", ["my runs", "it's [1]", "$HOME ~ *", "", "two\nlines", "\x1b[2J\\'", "K\udce4fer"]
)
def test_a_shell_reads_a_command_as_it_was_meant(word):
    command = os.fsencode(shell_command("printf", "%s", word))
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout == os.fsencode(word)


def test_a_command_is_one_line_whatever_a_path_holds():
    assert "\n" not in shell_command("tltool", "report", Path("two\nlines"))


def test_a_path_that_begins_with_a_dash_is_no_option():
    assert shlex.split(shell_command("tltool", "report", Path("-x")))[-1] == "./-x"


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x9b", "\u2028", "\u202e", "\x00"])
def test_what_would_move_the_rest_of_a_line_is_escaped(character):
    assert one_line(f"a{character}b").isprintable()


def test_letters_and_emoji_stay_as_they_are():
    name = "Käfer 甲虫 \N{DOG FACE} " + "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"
    assert one_line(name) == name


def test_lines_of_a_message_stay_lines():
    assert plain_lines("a\n\x1b[31mb") == "a\n\\x1b[31mb"


def test_a_console_takes_nothing_for_markup_or_emoji(capsys):
    plain_console().print("[bold]a[/] [/] :dog:")
    assert capsys.readouterr().out == "[bold]a[/] [/] :dog:\n"


def test_every_console_is_the_plain_one():
    makers = {path.name for path in SOURCES if re.search(r"\bConsole\(", path.read_text())}
    assert makers == {"_plain_text.py"}


def test_every_command_with_words_of_the_user_is_quoted_in_one_place():
    assert not [path.name for path in SOURCES if COMMAND.search(path.read_text())]
