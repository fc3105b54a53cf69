"""status.json says how far a run is, whether it is over, and that starting it again is no use."""

import pytest

from tltool.training.distributed.run_status import (
    MOST_STARTS,
    RunStatus,
    StatusOf,
    note_saved,
    read_status,
)
from tltool.training.distributed.signals import SignalStopped


def stop(run_dir, error, step=None):
    status = StatusOf(run_dir)
    status.__enter__()
    if step is not None:
        note_saved(run_dir, step, 0)
    status.__exit__(type(error), error, None)


def test_a_run_that_runs_says_so(tmp_path):
    with StatusOf(tmp_path):
        assert read_status(tmp_path).state == "running"


def test_a_run_that_is_over_is_finished(tmp_path):
    with StatusOf(tmp_path):
        note_saved(tmp_path, 12, 2)
    assert read_status(tmp_path) == RunStatus("finished", step=12, epoch=2)


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (SignalStopped(12), "unfinished", "SIGUSR2"),
        (SystemExit(1), "unfinished", "SIGINT"),
        (KeyboardInterrupt(), "unfinished", "SIGINT"),
        (ValueError("two\nlines"), "failed", r"ValueError: two\nlines"),
    ],
)
def test_a_run_that_is_not_says_why(tmp_path, error, state, why):
    stop(tmp_path, error)
    status = read_status(tmp_path)
    assert (status.state, status.why) == (state, why)


def test_a_run_that_comes_to_no_further_step_is_not_started_for_ever(tmp_path):
    for _ in range(1 + MOST_STARTS):  # The first comes to this step.
        stop(tmp_path, SignalStopped(15), step=40)
    with pytest.raises(ValueError, match=r"started 3 times from step 40 .*--save_every"):
        StatusOf(tmp_path).__enter__()
    assert read_status(tmp_path).state == "failed"


def test_a_run_that_comes_further_each_time_is_started_as_often_as_it_takes(tmp_path):
    for step in range(1, 3 * MOST_STARTS):
        stop(tmp_path, SignalStopped(15), step=step)
    assert read_status(tmp_path).step == 3 * MOST_STARTS - 1


def test_a_killed_run_counts_too(tmp_path):
    for _ in range(MOST_STARTS):
        StatusOf(tmp_path).__enter__()
    with pytest.raises(ValueError, match="last: killed"):
        StatusOf(tmp_path).__enter__()


def test_a_failed_run_may_be_started_as_often_as_one_likes(tmp_path):
    for _ in range(2 * MOST_STARTS):
        stop(tmp_path, ValueError("no such file"))


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(ValueError, match=r"status.json is damaged .* Delete it"):
        read_status(tmp_path)


def test_a_directory_without_a_status_gets_none(tmp_path):
    note_saved(tmp_path, 5, 0)
    assert read_status(tmp_path) is None


def test_seconds_add_up_over_starts_and_count_what_a_kill_leaves(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    with StatusOf(tmp_path):
        now[0] += 30
    killed = StatusOf(tmp_path)
    killed.__enter__()
    now[0] += 10
    note_saved(tmp_path, step=1, epoch=0)
    now[0] += 500  # Lost: killed here, and started again later.
    with StatusOf(tmp_path):
        now[0] += 2
    assert read_status(tmp_path).seconds == 42


def test_a_status_of_an_older_version_counts_from_now_on(tmp_path):
    RunStatus("running", step=1).write(tmp_path)
    note_saved(tmp_path, step=2, epoch=0)
    assert read_status(tmp_path).seconds == 0
