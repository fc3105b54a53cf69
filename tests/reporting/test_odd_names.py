"""Names of classes and folders that look like markup, or hold control characters."""

import contextlib
import io
import re
import shlex
import shutil
from types import SimpleNamespace

import pytest

from tltool.__main__ import main
from tltool._csv_rows import write_rows
from tltool.training.callbacks.checkpoints import LastCheckpoint

NAMES = ("dog [male]", "dog [female]", "male [/]", "two\nlines", "\x1b[31mred", ":cat: *_a_*")
NETWORK = (
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "4", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
)
SHOWN = ("dog [male]", "dog [female]", "male [/]", r"two\nlines", r"\x1b[31mred", ":cat: *_a_*")


def printed(*words):
    """Run a command, and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(list(map(str, words))) == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def manifest(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "my [images]"
    shutil.copytree(images, folder)
    rows = [
        {"path": f"{color}/{number:02d}.png", "label": name, "split": split}
        for number, name in enumerate(NAMES)
        for color, split in (("red", "train"), ("blue", "val"))
    ]
    write_rows(folder / "my images.csv", list(rows[0]), rows)
    return folder / "my images.csv"


@pytest.fixture(scope="module")
def fitted(manifest, tmp_path_factory):
    """A run in a folder whose name must be quoted, and what was printed."""
    runs = tmp_path_factory.mktemp("odd") / "my runs [1]"
    words = ["--runs_dir", runs, "--name", "[b]old it's", "--data", "ManifestDataModule"]
    words += ["--data.manifest", manifest]
    assert main(["fit", *map(str, words), *NETWORK]) == 0
    return runs / "[b]old it's" / "0"


@pytest.fixture(scope="module")
def validated(fitted, manifest):
    words = ["--ckpt_path", fitted / "checkpoints" / "last.ckpt", "--data", "ManifestDataModule"]
    return printed("validate", *words, "--data.manifest", manifest, "--data.num_workers", "0")


@pytest.fixture(scope="module")
def reported(fitted):
    return printed("report", fitted), (fitted / "report.html").read_text()


@pytest.mark.parametrize("name", SHOWN)
def test_each_class_is_named_as_it_is_by_validate(validated, name):
    assert f" {name} " in validated


def test_a_table_is_torn_by_no_name(validated):
    table = [line for line in validated.splitlines() if line[:1] in "│┃"]
    assert len({len(line) for line in table[-6:]}) == 1
    assert "\x1b" not in validated


@pytest.mark.parametrize("name", SHOWN)
def test_each_class_is_named_as_it_is_on_the_page(reported, name):
    assert f">{name}</td>" in reported[1]


def test_the_last_line_of_a_report_can_be_typed(reported, fitted):
    words = shlex.split(reported[0].splitlines()[-1])
    assert words[1] == "tltool"
    assert any(word.startswith(str(fitted)) for word in words)


def test_the_path_of_the_page_is_one_line(reported, fitted):
    assert f"page         {fitted}/report.html" in reported[0].splitlines()


def test_the_lines_after_training_can_be_typed(fitted):
    output = printed("fit", "--config", fitted / "config.yaml", "--trainer.max_epochs", 1)
    lines = re.findall("^(?:look|predict) +(.*)", output, flags=re.MULTILINE)
    run = fitted.parent / "1"
    predict, look = map(shlex.split, lines)
    assert look[-1] == str(run)
    assert str(run / "checkpoints" / "best.ckpt") in predict


def test_doctor_names_each_class_as_it_is(manifest):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        main(["doctor", "--data", "ManifestDataModule", "--data.manifest", str(manifest), *NETWORK])
    assert "\x1b" not in output.getvalue()
    assert "dog [female] 1, dog [male] 1, male [/] 1" in output.getvalue()


def test_an_error_holds_no_control_code_of_a_path(tmp_path, capsys):
    folder = tmp_path / "a\n\x1b[31m[/]"
    for number in range(3):
        for name in "ab":
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number}.png").write_bytes(b"no image")
    assert main(["fit", "--data.root", str(folder), "--runs_dir", str(tmp_path), *NETWORK]) == 1
    errors = capsys.readouterr().err
    assert r"\x1b[31m[/]" in errors
    assert "\x1b" not in errors


def test_the_resuming_command_can_be_typed(tmp_path, capsys):
    folder = tmp_path / "my runs [1]" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").touch()
    trainer = SimpleNamespace(is_global_zero=True)
    LastCheckpoint(folder).on_exception(trainer, None, KeyboardInterrupt())
    words = shlex.split(capsys.readouterr().out.partition(":")[2])
    assert words[-1] == str(folder / "last.ckpt")
