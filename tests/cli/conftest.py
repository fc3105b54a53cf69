"""What tests of commands share: a small network, and a function that runs a command."""

import pytest

from tltool.__main__ import main

collect_ignore = ["doctor_ranks_job.py"]  # a script of a test


@pytest.fixture
def run_tltool(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder and return its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
