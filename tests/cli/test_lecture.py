"""`tltool compare --lecture`."""

import csv
import html
import json
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from tltool.__main__ import main
from tltool.cli.lecture import DIGITS, lecture_arguments, make_problem, repeat
from tltool.lecture.catalog import EXPERIMENTS
from tltool.lecture.saturation import Saturation

TINY = ["--lecture.depths", "[2]", "--lecture.width", "8", "--lecture.epochs", "1"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--axes.norm", "batch"], ["--axes.norm", "batch"]),
        (["--lecture"], [*DIGITS, "--lecture=all"]),
        (["--lecture", "Transfer"], [*DIGITS, "--lecture", "Transfer"]),
        (["--lecture", "--data.root", "p"], ["--lecture=all", "--data.root", "p"]),
        (["--lecture=all", "--config", "c.yaml"], ["--lecture=all", "--config", "c.yaml"]),
    ],
)
def test_the_digits_are_taken_where_no_data_are_given(words, expected):
    assert lecture_arguments(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--lecture"], "--lecture Saturation"),
        (["--lecture=all", "--seed_everything", "1"], "--lecture=Saturation --seed_everything 1"),
        (["--config", "c.yaml"], "--config c.yaml"),
    ],
)
def test_the_command_on_the_page_repeats_one_experiment(words, expected):
    assert repeat(Saturation(), words) == f"tltool compare {expected}"


def test_rows_that_report_choose_nothing_where_two_parts_are_there():
    labels = torch.arange(50) % 2
    problem = make_problem("toy", torch.rand(50, 2), labels, ["train"] * 40 + ["val"] * 10)
    assert problem.split.test.tolist() == list(range(40, 50))
    assert len(problem.split.val) == 8
    assert not set(problem.split.val.tolist()) & set(problem.split.train.tolist())


def test_images_to_report_on_are_asked_for():
    with pytest.raises(ValueError, match="give the data a split `val`"):
        make_problem("toy", torch.rand(4, 2), torch.arange(4) % 2, ["train"] * 4)


def test_one_experiment_writes_page_picture_and_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    assert main(["compare", "--lecture", "Saturation", *TINY]) == 0
    folder = tmp_path / "runs/lecture/0"
    assert {path.name for path in folder.iterdir()} == {
        *("lecture.html", "lecture.json", "Saturation.png", "Saturation.csv")
    }
    (summary,) = json.loads((folder / "lecture.json").read_text())
    assert f"Saturation: {summary['verdict']}" in capsys.readouterr().out
    rows = list(csv.DictReader((folder / "Saturation.csv").read_text().splitlines()))
    assert len(rows) == 3 * 3 * 3  # Activations, seeds and layers.
    page = html.unescape((folder / "lecture.html").read_text())
    assert "--lecture.depths '[2]'" in page


def test_an_unknown_experiment_is_an_error_with_the_nearest_name(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--lecture", "Saturaton"])
    assert "Saturation" in capsys.readouterr().err


def test_a_missing_package_is_told_without_a_traceback(monkeypatch, capsys, tmp_path):
    def find(name):
        raise PackageNotFoundError(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tltool.lecture.claim.distribution", find)
    assert main(["compare", "--lecture", "Transfer"]) == 1
    assert "Type: pip install 'tltool[lecture]'" in capsys.readouterr().err


def test_every_experiment_says_what_is_claimed_and_where():
    for experiment in EXPERIMENTS:
        assert experiment.title
        assert experiment.claim.endswith(".")
        assert "CS231n" in experiment.source
        experiment()
