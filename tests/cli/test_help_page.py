"""The short help is short, and says what the parser knows."""

import pytest

from tltool.__main__ import main
from tltool.cli.help_page import NAMES, PAGE, page_options
from tltool.cli.sections import experiment_parser


@pytest.fixture(scope="module")
def options():
    """The options of fit by name, and those of the classes that are the default."""
    parser = experiment_parser("fit")
    return set(parser.option_names()) | {"print_config"}


@pytest.fixture(scope="module")
def defaults():
    config = experiment_parser("fit").parse_args(["--data.root", "images"]).as_dict()
    return flatten(config)


def flatten(config, prefix=""):
    """Return the values by dotted key; a class is its short name, its arguments are beside it."""
    values = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and "class_path" in value:
            values[name] = value["class_path"].rpartition(".")[2]
            values |= flatten(value.get("init_args", {}), f"{name}.")
        elif isinstance(value, dict):
            values |= flatten(value, f"{name}.")
        else:
            values[name] = value
    return values


def test_it_fits_on_two_screens_and_80_columns():
    lines = PAGE.splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 80


def test_it_names_what_a_user_needs_first():
    assert {"data.root", "data.batch_size", "optimizer.lr", "trainer.max_epochs"} <= set(
        page_options()
    )


def test_each_option_of_the_page_is_one(options):
    assert set(page_options()) - options == set()


def test_each_usual_word_leads_to_an_option(options):
    assert set(NAMES["foreign_options"].values()) - options == set()


def test_what_stands_behind_an_option_is_its_default(defaults):
    shown = {key: word for key, word in page_options().items() if word and not word.isupper()}
    real = {key: defaults[key] for key in shown} | {"data.batch_size": 32}  # Or what there is.
    as_yaml = {True: "true", False: "false"}
    assert shown == {
        key: as_yaml[value] if isinstance(value, bool) else str(value)
        for key, value in real.items()
    }


def test_an_option_without_a_default_on_the_page_has_none(defaults):
    others = {"model.head", "config", "print_config", "data.root", "wandb.tags"}
    others |= {"features.max_size"}
    empty = {key for key, word in page_options().items() if word.isupper()} - others
    assert {key: defaults[key] for key in empty} == dict.fromkeys(empty)


def test_the_help_of_fit_is_the_page(capsys):
    assert main(["fit", "--help"]) == 0
    assert capsys.readouterr().out.strip() == PAGE.strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["plan", "--help"], "--lr_range_steps"),
        (["fit", "--help", "trainer"], "--trainer.gradient_clip_val"),
        (["fit", "--help_all"], "--trainer.reload_dataloaders_every_n_epochs"),
        (["fit", "--help", "wandb"], "--wandb.job_type"),
        (["predict", "--help"], "--output"),
    ],
)
def test_more_help_is_one_word_away(run_tltool, words, expected):
    status, out, _ = run_tltool(*words)
    assert (status, expected in out) == (0, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help", "data"], "--data.broken_files"),
        (["--data.help"], "--data.help"),
        (["--finetuning.help=LPFT"], "--finetuning.probe_epochs"),
    ],
)
def test_the_options_of_a_class_are_shown(run_tltool, words, expected):
    status, out, _ = run_tltool("fit", *words)
    assert (status, expected in out) == (0, True)


def test_a_section_that_is_not_there_offers_the_nearest(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help", "trainr"])
    assert "Did you mean 'trainer'?" in capsys.readouterr().err
