"""CSV files that survive a kill."""

import signal
import subprocess
import sys

import pytest

from tltool._csv_rows import StepRows, read_rows, write_rows

# A process that appends rows for ever, and says when the first ones are there.
APPEND = """
import itertools, sys
from pathlib import Path
from tltool._csv_rows import StepRows
rows = StepRows(Path(sys.argv[1]), ["step", "value"])
for step in itertools.count():
    rows.append([{"step": step, "value": 7 * step}])
    if step == 100:
        print("written", flush=True)
"""


@pytest.fixture
def rows(tmp_path):
    rows = StepRows(tmp_path / "rows.csv", ["step", "loss"])
    rows.append([{"step": 0, "loss": 0.5}, {"step": 1, "loss": 0.25}])
    return rows


def test_what_a_row_lacks_is_empty(tmp_path):
    write_rows(tmp_path / "rows.csv", ["step", "loss"], [{"step": 1}])
    assert (tmp_path / "rows.csv").read_text() == "step,loss\n1,\n"


@pytest.mark.parametrize("name", ["a\rb.png", "a\nb.png", "a\r\n", "\r\n", 'a"b,c.png'])
def test_a_cell_reads_back_as_it_was_written(tmp_path, name):
    rows = StepRows(tmp_path / "rows.csv", ["path", "step"])
    for step in range(3):
        rows.append([{"path": name, "step": step}])
    assert read_rows(rows.path) == [{"path": name, "step": str(step)} for step in range(3)]


def test_rows_are_whole_after_a_kill_and_go_on(tmp_path):
    path = tmp_path / "rows.csv"
    command = [sys.executable, "-c", APPEND, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    StepRows(path, ["step", "value"]).append([{"step": -1, "value": 0}])
    *kept, last = read_rows(path)
    assert len(kept) > 100
    assert kept == [{"step": str(n), "value": str(7 * n)} for n in range(len(kept))]
    assert last == {"step": "-1", "value": "0"}


def test_a_row_that_was_cut_inside_its_last_number_is_left_out(rows):
    rows.path.write_text(rows.path.read_text()[:-2])
    assert read_rows(rows.path) == [{"step": "0", "loss": "0.5"}]


def test_a_cut_row_is_removed_before_another_is_appended(rows):
    rows.path.write_text(rows.path.read_text()[:-2])
    StepRows(rows.path, rows.columns).append([{"step": 1, "loss": 0.125}])
    assert rows.path.read_text() == "step,loss\n0,0.5\n1,0.125\n"


def test_appending_leaves_the_rows_before_as_they_are(rows):
    inode = rows.path.stat().st_ino
    rows.append([{"step": 2}])
    assert rows.path.stat().st_ino == inode
    assert rows.path.read_text() == "step,loss\n0,0.5\n1,0.25\n2,\n"


def test_dropping_rows_keeps_those_before(rows):
    rows.drop_from(1)
    assert read_rows(rows.path) == [{"step": "0", "loss": "0.5"}]


def test_dropping_rows_of_no_file_makes_none(tmp_path):
    StepRows(tmp_path / "rows.csv", ["step"]).drop_from(0)
    assert not list(tmp_path.iterdir())
