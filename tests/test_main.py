import contextlib
import importlib
import io
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from tltool.__main__ import COMMANDS, help_text, main, message_for_user
from tltool.training.distributed.signals import SIGNALS


@pytest.mark.parametrize("words", [["fit", "--\x1b[31mlr", "1"], ["validate", "--\x1b[31m", "1"]])
def test_what_was_typed_comes_back_without_its_control_codes(words, capsys):
    with contextlib.suppress(SystemExit):
        main(words)
    errors = capsys.readouterr().err
    assert r"\x1b[31m" in errors
    assert "\x1b" not in errors


def test_a_name_that_the_terminal_cannot_write_is_no_error(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    main(["--version"])
    print("K\u00e4fer")
    terminal.flush()
    assert terminal.buffer.getvalue().endswith(b"K\\xe4fer\n")


@pytest.mark.parametrize(
    "words", [["--help"], ["fit", "--help"], ["fit", "--epochs", "3"], ["fit", "--trainr.devices"]]
)
def test_help_imports_neither_torch_nor_lightning(words):
    code = (
        f"import sys; from tltool.__main__ import main; main({words});"
        "heavy = {'torch', 'lightning', 'timm', 'wandb', 'wandb_workspaces'};"
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    assert run.returncode == 0


def test_help_lists_every_command():
    assert all(f" {name} " in help_text() for name in COMMANDS)


def test_an_unknown_command_offers_the_nearest(capsys):
    assert main(["fti"]) == 2
    assert "unknown command 'fti'. Did you mean 'fit'?" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["train", "finetune"])
def test_what_others_call_a_command_is_answered_with_its_name(capsys, word):
    assert main([word, "images"]) == 2
    assert f"unknown command '{word}'. Did you mean 'fit'?" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys):
    assert main([]) == 0
    assert "start here: tltool fit --data.root images" in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tltool 0.")


def test_a_signal_in_the_imports_of_fit_raises_nothing(monkeypatch):
    seen = []
    module = SimpleNamespace(main=lambda argv: seen.append(SIGNALS._is_importing) or 0)
    monkeypatch.setattr(
        importlib, "import_module", lambda name: seen.append(SIGNALS._is_importing) or module
    )
    assert main(["fit"]) == 0
    assert seen == [True, False]


def test_an_error_of_a_library_keeps_its_traceback():
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("no number")
    assert message_for_user(caught.value) is None


def test_used_up_memory_is_said_with_a_remedy():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert message_for_user(caught.value).startswith("Out of memory. Try a smaller --data.batch")


def test_an_error_of_tltool_is_its_message():
    from tltool.training.image_task import ImageTask

    with pytest.raises(ValueError, match="must be at least 2") as caught:
        ImageTask(None, num_classes=1)
    assert message_for_user(caught.value).startswith("`num_classes` must be at least 2")


def test_a_package_that_a_library_lacks_is_one_line_with_the_command():
    with pytest.raises(ModuleNotFoundError) as caught:
        raise ModuleNotFoundError("`Monitor` needs `psutil`.\n HINT: Try `pip install psutil`")
    message = "`Monitor` needs `psutil`. HINT: Try `pip install psutil`"
    assert message_for_user(caught.value) == message


def test_a_module_that_is_not_there_keeps_its_traceback():
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("no_such_module")
    assert message_for_user(caught.value) is None


@pytest.fixture
def stopped_command(monkeypatch):
    """Return a function that ends a command by an exit of Lightning's, and returns the status."""

    def run(stop, context=None):
        def end(argv):
            try:
                raise context or stop
            except KeyboardInterrupt:
                raise stop  # noqa: B904  # as Lightning does

        monkeypatch.setitem(sys.modules, "tltool.cli.plan", SimpleNamespace(main=end))
        return main(["plan"])

    return run


def test_a_terminated_run_ends_with_143(stopped_command):
    assert stopped_command(SIGTERMException()) == 143


def test_an_interrupted_command_ends_with_130(stopped_command):
    assert stopped_command(SystemExit(1), KeyboardInterrupt()) == 130


def test_wrong_usage_keeps_its_status(stopped_command):
    with pytest.raises(SystemExit) as caught:
        stopped_command(SystemExit(2))
    assert caught.value.code == 2


ROOMS = ("comparison", "evaluation", "features", "finetuning", "layers", "models", "surgery")
IMPORT_ALL = """
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    package = importlib.import_module(f"tltool.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
        if "lightning" in sys.modules:
            sys.exit(f"{module.name} imports Lightning")
"""


@pytest.mark.slow
def test_the_rooms_of_science_import_no_lightning():
    command = [sys.executable, "-c", IMPORT_ALL, *ROOMS]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
