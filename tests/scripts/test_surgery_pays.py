"""The benchmark of surgery: its cells, and its tables."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "scripts" / "benchmark"


@pytest.fixture
def run(images, tmp_path, monkeypatch):
    """Run the script on a small set, with numbers in the place of measurements."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    script, transfer = map(importlib.import_module, ("surgery_pays", "transfer"))
    for split in ("train", "val"):
        shutil.copytree(images, tmp_path / "images" / split)
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(transfer, "FOLDER", tmp_path)
    measured = []

    def measure(cell, folder):
        measured.append(cell.method)
        right = 12 if "silu" in cell.method else 20
        return {"correct": {"last": "1" * right + "0" * (24 - right)}, "minutes": 1.0}

    monkeypatch.setattr(transfer, "measure", measure)

    def call(verb, *words):
        given = ["--sets", "hymenoptera", "--folders", f"hymenoptera={tmp_path / 'images'}"]
        monkeypatch.setattr(sys, "argv", ["surgery_pays.py", verb, *given, *words])
        return script.main(), measured

    return call


def test_a_later_call_measures_what_is_missing_and_all_edits_at_both_stages(run):
    _, measured = run("run", "--edits", "none", "silu matched")
    assert [method.split("+")[0] for method in measured] == ["probe", "probe", *["fit"] * 4]
    run("run", "--edits", "none", "silu matched", "silu", "--seeds", "0", "1")
    assert len(measured) == 9
    edit = "[{swap_activations: {to: silu, match: moments}}]"
    assert f"probe+model.backbone.surgery={edit}" in measured


def test_the_table_shows_the_loss_with_its_error(run, capsys):
    run("run", "--edits", "none", "gelu", "silu")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert "| none | 0.833 +- 0.078 | - |" in rows
    assert "| gelu | 0.833 +- 0.078 | +0.000 +- 0.000 |" in rows
    assert "| silu | 0.500 +- 0.104 | -0.333 +- 0.098 * |" in rows


def test_what_is_not_measured_yet_is_left_open(run, capsys):
    run("print", "--edits", "none", "silu")
    assert "| silu | - | - |" in capsys.readouterr().out
