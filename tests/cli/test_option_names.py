"""Wrong flags are answered from the sources, at once; right ones never are."""

import subprocess
import sys

import pytest

from tltool.__main__ import COMMANDS, quick_answer
from tltool.cli import merge, validate
from tltool.cli.evaluation import _make_parser
from tltool.cli.help_page import NAMES
from tltool.cli.option_names import own_options, section_keys, sections_of
from tltool.cli.predict import predict
from tltool.cli.sections import experiment_parser


@pytest.fixture(scope="module")
def fit_options():
    """The options of fit, with one dot at most."""
    return {".".join(name.split(".")[:2]) for name in experiment_parser("fit").option_names()}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["fit", "--root", "images"], "There is no --root. Did you mean --data.root?"),
        (["plan", "--trainer.epochs=3"], "Did you mean --trainer.max_epochs?"),
        (["doctor", "--data.batch-size", "8"], "Did you mean --data.batch_size?"),
        (["compare", "--model.class_weight", "balanced"], "Did you mean --model.class_weights?"),
        (
            ["validate", "--root", "images"],
            "tltool validate has no --root. Did you mean --data.root?",
        ),
        (["test", "--checkpoint", "best.ckpt"], "Did you mean --ckpt_path?"),
        (["predict", "--optimizer.lr", "1"], None),
        (["predict", "--seed", "1"], "has no --seed. tltool predict --help tells those that there"),
        (["merge", "run", "--seed", "1"], "tltool merge has no --seed."),
        (["report", "run", "--no-images"], "Did you mean --no_images?"),
    ],
)
def test_a_wrong_flag_is_answered_with_one_that_there_is(words, error):
    answer = quick_answer(words)
    assert (answer is None) == (error is None)
    assert error is None or (answer[0] == 2 and error in answer[1])


def test_the_answer_comes_before_torch():
    code = (
        "import sys; from tltool.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'lightning', 'jsonargparse'} & set(sys.modules)))"
    )
    words = ["fit", "images", "--trainer.epochs", "3"]
    assert subprocess.run([sys.executable, "-c", code, *words], check=False).returncode == 0


@pytest.mark.parametrize("section", ["trainer", "model", "data"])
def test_a_section_has_all_keys_of_the_parser(fit_options, section):
    real = {name.partition(".")[2] for name in fit_options if name.startswith(f"{section}.")}
    assert real - section_keys(section) - {"help"} == set()


@pytest.mark.parametrize(
    ("command", "run"),
    [("validate", validate.validate), ("test", validate.test), ("predict", predict)],
)
def test_a_command_has_all_options_of_its_parser(command, run):
    parser, _ = _make_parser(command, run)
    real = {name.partition(".")[0] for name in parser.option_names()} - {"help", "help_section"}
    known = own_options(command) | sections_of(command) | {"help_all", "print_config"}
    assert real - known == set()


def test_merge_has_the_options_of_its_function():
    assert own_options("merge") >= {"average", "points", "output"}
    assert merge.merge.__kwdefaults__.keys() == own_options("merge")


def test_each_command_of_the_table_is_one():
    assert set(NAMES["sections"]) - set(COMMANDS) == set()
