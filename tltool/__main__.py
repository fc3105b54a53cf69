"""The command line: finds the command first and imports only what it needs."""

import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import tltool
from tltool._lookup import nearest_name
from tltool._plain_text import plain_lines
from tltool.cli.help_page import NAMES, PAGE, wrong_flag
from tltool.cli.option_names import unknown_flag
from tltool.training.distributed.launch import rank_name
from tltool.training.distributed.run_status import UNFINISHED
from tltool.training.distributed.signals import INTERRUPTED, SIGNALS, SignalStopped, stop_message

# The last frame of a traceback in text, and the message behind it.
WORKER_ERROR = re.compile(
    r"^Caught .*Original Traceback.*\n  File \"(?P<file>[^\"]+)\", line \d+, in [^\n]*\n"
    r"(?:[ ].*\n)*[\w.]+: (?P<message>.*)$",
    re.DOTALL,
)


COMMANDS: list[str] = [name for commands in NAMES["commands"].values() for name in commands]

READS_FIT = {"fit", "plan", "doctor", "features"}
"""The commands that read the configuration of ``fit``; compare has an ``--lr`` of its own."""


def help_text() -> str:
    """Return the overview of all commands, by the moment they are used."""
    lines = ["usage: tltool COMMAND [options]    (tltool COMMAND --help for its options)", ""]
    for moment, commands in NAMES["commands"].items():
        lines += [f"  {moment:<8}{name:<14}{summary}" for name, summary in commands.items()]
    lines += ["", "start here: tltool fit --data.root images    (images/<class>/*.jpg)"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    It is 0 for done, 1 for failed, 2 for wrong usage, 85 for a fit that a signal has stopped, 130
    for interrupted, 143 for terminated, and 141 where whoever reads the output has left.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # Names of files and classes are of any alphabet.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        answer = quick_answer(argv)
        if answer is not None:
            status, text = answer
            print(plain_lines(text), file=sys.stderr if status else sys.stdout, flush=True)
            return status
        return run_command(argv)
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        return stopped(stop)
    except SystemExit as stop:
        return stopped_in_training(stop)
    except Exception as error:
        message, rank = message_for_user(error), rank_name()
        where = f"error on {rank}" if rank else "error"
        if message is None or os.environ.get("TLTOOL_TRACEBACK"):
            if rank:
                print(f"{where}:", file=sys.stderr)
            raise
        print(f"{where}: {plain_lines(message)}", file=sys.stderr)
        return 1


def run_command(argv: Sequence[str]) -> int:
    """Run a command, from its first import on with handlers of signals if it trains."""
    name = "validate" if argv[0] == "test" else argv[0]
    with SIGNALS.installed() if argv[0] == "fit" else contextlib.nullcontext():
        with SIGNALS.importing():
            module = importlib.import_module(f"tltool.cli.{name}")
        return int(module.main(argv))


def quick_answer(argv: Sequence[str]) -> tuple[int, str] | None:
    """Return the exit status and the text of what can be answered without torch."""
    if not argv or argv[0] in {"-h", "--help", "help"}:
        return 0, help_text()
    if argv[0] == "--version":
        return 0, f"tltool {tltool.__version__}"
    if argv[0] not in COMMANDS:
        near = NAMES["foreign_commands"].get(argv[0])
        near = near or nearest_name(dict.fromkeys(COMMANDS), argv[0])
        hint = f" Did you mean {near!r}?" if near else ""
        return 2, f"error: unknown command {argv[0]!r}.{hint} See tltool --help."
    if argv[0] == "fit" and argv[-1] in {"-h", "--help"}:
        return 0, PAGE
    is_fit = argv[0] == "fit"
    wrong = wrong_flag(argv[1:], is_fit=is_fit) if argv[0] in READS_FIT else None
    wrong = wrong or unknown_flag(argv[0], argv[1:])
    return None if wrong is None else (2, f"error: {wrong}")


def stopped(stop: KeyboardInterrupt | BrokenPipeError) -> int:
    """Return the exit status of a command that was stopped from outside: 128 and the signal."""
    if isinstance(stop, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    # The reader has enough, as in `tltool backbones | head`: flush what is left into nothing.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def stopped_in_training(stop: SystemExit) -> int:
    """Return the exit status where a signal, or Lightning because of one, has made an exit.

    Lightning's own status would be 1 for Ctrl-C, and 0 for SIGTERM, so that ``fit && predict`` went
    on: it is 128 and its number. It is `UNFINISHED` where training stopped to go on later.

    Raises:
        SystemExit: As it is, if no signal is behind it.
    """
    if isinstance(stop, SignalStopped):
        if not stop.has_agreed:  # Else the first rank has said so.
            print(stop_message(stop), file=sys.stderr)
        return UNFINISHED
    if isinstance(stop.__context__, KeyboardInterrupt):
        return stopped(stop.__context__)
    if type(stop).__name__ == "SIGTERMException":  # By name, for Lightning may not be imported.
        print("terminated", file=sys.stderr)
        return 143
    raise stop


def message_for_user(error: BaseException) -> str | None:
    """Return the message of an error that tltool raised on purpose, or ``None`` for a defect.

    An error raised in tltool's own code is written for the user and needs no traceback; one raised
    in a library is shown whole, unless tltool's own error is its cause.
    """
    if isinstance(error, RuntimeError):
        from tltool.cli.memory import is_out_of_memory  # Here, for it imports torch.

        if is_out_of_memory(error):
            return "Out of memory. Try a smaller --data.batch_size, or a smaller image size."
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        worker = WORKER_ERROR.search(text)
        if worker:  # A data loader's worker sends its error as text, with the traceback in front.
            return worker["message"].strip() if _is_in_package(worker["file"]) else None
        frames = traceback.extract_tb(cause.__traceback__)
        raised_here = bool(frames) and _is_in_package(frames[-1].filename)
        if raised_here and isinstance(cause, ValueError | TypeError | OSError | ImportError):
            return text
        # Lightning's and W&B's words for a user's error, and a package that one of them lacks.
        if type(cause).__name__ in {"MisconfigurationException", "UsageError"}:
            return text
        if isinstance(cause, ImportError) and "pip install" in text:
            return " ".join(text.split())
        cause = cause.__cause__
    return None


def _is_in_package(filename: str) -> bool:
    return Path(filename).is_relative_to(Path(__file__).parent)


if __name__ == "__main__":
    sys.exit(main())
