"""The benchmark of learning rates: what it keeps, and the regrets that it prints."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "scripts" / "benchmark"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, with results in a temporary folder and without sets."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    found = importlib.import_module("learning_rates")
    monkeypatch.setattr(found, "RESULTS", tmp_path)
    monkeypatch.setattr(found, "make_set", lambda name, *args, **kwargs: Path(name))
    monkeypatch.setattr(found, "folders_of", lambda args: dict.fromkeys(args.sets, Path("set")))
    monkeypatch.setattr(found, "redrawn", lambda folder, num_train: folder / f"of_{num_train}")
    monkeypatch.setattr(found, "fingerprint", lambda folder: "0" * 12)
    return found


@pytest.fixture
def call(script, monkeypatch):
    """Run the script on one set; return what it measured."""
    measured = []

    def trained(cell, folder, cache, *, epochs):
        assert f"--trainer.max_epochs={epochs}" in cell.options
        measured.append(cell.options[-1])
        rate = float(cell.method.rpartition("=")[2])
        return {"accuracy": 0.9 if rate == pytest.approx(1e-3) else 0.6, "minutes": 1.0}

    def suggested(cell, folder, cache):
        measured.append(cell.options[-1])
        return {"lr": 1e-3 * 3**0.5, "minutes": 1.0}

    def run(*words):
        monkeypatch.setattr(script, "trained", trained)
        monkeypatch.setattr(script, "suggested", suggested)
        argv = ["learning_rates.py", "LastBlocks", "--sets", "digits", *words]
        monkeypatch.setattr(sys, "argv", argv)
        script.main()
        return measured

    return run


def test_a_strategy_is_measured_at_five_rates_and_the_suggested_one_once(call):
    assert len(call()) == 6
    assert len(call()) == 6  # All of them kept.


def test_the_table_has_the_regret_of_the_default_and_of_the_suggested_rate(call, capsys):
    call()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "| digits | 0.600 | 0.600 | 0.900 | 0.600 | 0.600 | 0.750, 0.0017 | 6.0 |"
    assert lines[-1] == "| mean regret | 0.300 | 0.300 | 0.000 | 0.300 | 0.300 | 0.150 | |"


def test_printing_measures_nothing(call, capsys):
    assert call("--print") == []
    assert "nothing is complete yet" in capsys.readouterr().out


def test_another_option_has_no_range_test(call):
    measured = call("--option", "finetuning.num_groups", "--center", "1")
    assert len(measured) == 5
    assert measured[2] == "--finetuning.num_groups=1"


def test_draws_are_measured_at_other_factors_and_for_another_length_without_a_range_test(
    call, capsys
):
    words = ["--draws", "--epochs", "10", "--factors", "1", ".333"]
    assert call(*words) == ["--optimizer.lr=0.000333", "--optimizer.lr=0.001"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["| digits | 0.600 | 0.900 | 2.0 |", "| mean regret | 0.300 | 0.000 | |"]


@pytest.mark.parametrize(("factor", "accuracy"), [(0.01, 0.1), (3.0, 0.4), (100, 0.5)])
def test_a_rate_beyond_the_grid_counts_as_its_edge(script, factor, accuracy):
    judged = script.Judged(script.FACTORS, [0.1, 0.2, 0.3, 0.4, 0.5], None, minutes=1.0)
    assert script.interpolated(judged, factor) == pytest.approx(accuracy)
