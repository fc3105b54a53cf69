"""A task of an array trains with its line of options, or not at all."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "slurm"


@pytest.fixture
def task(tmp_path):
    """Return a function that runs a task of array.sbatch with an `srun` that prints its words."""

    def run(number, *files):
        (tmp_path / "srun").write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
        (tmp_path / "srun").chmod(0o755)
        job = {"ARRAY_TASK_ID": number, "ARRAY_JOB_ID": "7", "JOB_ID": "7", "JOB_NODELIST": "node1"}
        environment = {f"SLURM_{name}": value for name, value in job.items()}
        environment |= {"TLTOOL": str(SCRIPTS.parents[1]), "RUNS": "/runs", "CONFIG": "/fit.yaml"}
        environment |= {"MASTER_ADDR": "node1", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", SCRIPTS / "array.sbatch", *files],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def variants(tmp_path):
    """Return a function that writes the file of lines."""

    def write(text):
        (tmp_path / "variants.txt").write_bytes(text.encode())
        return str(tmp_path / "variants.txt")

    return write


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_line_counts_however_it_ends(task, variants, end):
    ended = task("2", variants(f"--optimizer.lr 1e-3\n--optimizer.lr  2e-3{end}"))
    assert "<10m><--optimizer.lr><2e-3>exit code 0" in ended.stdout


@pytest.mark.parametrize("second_line", ["", "\n", " \r\n"])
def test_a_task_without_a_line_of_options_is_refused(task, variants, second_line):
    file = variants(f"--optimizer.lr 1e-3\n{second_line}")
    ended = task("2", file)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"error: line 2 of '{file}' holds no options" in ended.stderr


@pytest.mark.parametrize("files", [[], ["missing.txt"]])
def test_a_file_that_is_not_there_is_refused(task, files):
    ended = task("1", *files)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "holds no options" in ended.stderr


def test_the_header_counts_a_last_line_without_a_newline(variants):
    command = (SCRIPTS / "array.sbatch").read_text().partition('"$(')[2].partition(')"')[0]
    file = variants("--optimizer.lr 1e-3\n--optimizer.lr 2e-3")
    counted = subprocess.run(
        command, shell=True, cwd=Path(file).parent, capture_output=True, text=True, check=True
    )
    assert counted.stdout == "2\n"
