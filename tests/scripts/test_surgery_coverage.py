"""The table of what surgery and training do to timm's networks is right, and says what is not."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tltool.models.surgery_coverage import COLUMNS, PASSED, RESULTS, coverage_table
from tltool.models.timm_catalog import smallest_of_each_family

SCRIPT = Path(__file__).parents[2] / "scripts" / "surgery_coverage.py"
#: Plain, with gates, a transformer, and where torch's 1x1 convolutions would crash.
SAMPLE = ("resnet", "efficientnet", "vision_transformer", "fastvit")


#: What is not as it should be, by module and column, and why it is so.
KNOWN = {("metaformer", "state_dict"): "without 24 values of the old activations"}  # StarReLU


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, with a table of one row in a temporary folder."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    script = importlib.import_module("surgery_coverage")
    monkeypatch.setattr(script, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(script, "coverage_table", lambda: {"resnet": coverage_table()["resnet"]})
    return script


def run(monkeypatch, script, *words):
    monkeypatch.setattr(sys, "argv", ["surgery_coverage.py", *words])
    return script.main()


def test_each_module_of_timm_has_a_row():
    assert coverage_table().keys() == smallest_of_each_family().keys()


def test_each_row_is_that_of_the_smallest_network():
    found = {family: row["backbone"] for family, row in coverage_table().items()}
    assert found == smallest_of_each_family()


def test_all_that_was_tried_went_well_but_for_what_is_known():
    rows = coverage_table()
    cells = {(family, column): rows[family][column] for family in rows for column in RESULTS}
    assert {key: value for key, value in cells.items() if value != PASSED} == KNOWN


@pytest.mark.slow
def test_a_sample_of_the_rows_is_what_the_script_finds():
    words = [sys.executable, str(SCRIPT), *SAMPLE]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_row_that_changes_is_an_error_and_stays(script, monkeypatch):
    changed = coverage_table()["resnet"] | {"swapped": "11"}
    monkeypatch.setattr(script, "row_of", lambda family: changed)
    assert run(monkeypatch, script, "resnet") == 1
    assert not script.TABLE.exists()


def test_a_change_is_kept_where_this_is_asked_for(script, monkeypatch):
    changed = coverage_table()["resnet"] | {"swapped": "11"}
    monkeypatch.setattr(script, "row_of", lambda family: changed)
    run(monkeypatch, script, "--update", "resnet")
    assert "resnet,test_resnet,64,12,11" in script.TABLE.read_text()


def die(family, note):
    note(backbone="one", swapped=3, activations=4, state_dict=PASSED)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_signal_is_the_reason_of_what_is_missing(script, monkeypatch):
    monkeypatch.setattr(script, "try_network", die)
    row = script.row_of("resnet")
    assert tuple(row) == COLUMNS
    assert (row["state_dict"], row["reload"], row["fit"]) == (PASSED, "ended by SIGKILL", "")


def test_an_error_is_the_reason_of_what_is_missing(script, monkeypatch):
    monkeypatch.setattr(script, "try_network", lambda family, note: sys.exit("no such image"))
    assert script.row_of("resnet")["state_dict"] == "no such image"


def test_a_network_that_takes_too_long_is_ended(script, monkeypatch):
    monkeypatch.setattr(script, "try_network", lambda family, note: signal.pause())
    assert script.row_of("resnet", seconds=0.5)["state_dict"] == "took more than 0.5 s"
