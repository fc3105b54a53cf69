"""A rank that fails ends the others, with its cause, whatever they wait for."""

import os
import signal
import time

import pytest

from tltool.training.distributed import rank_watch
from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.rank_watch import RankWatch
from tltool.training.distributed.run_status import UNFINISHED
from tltool.training.distributed.signals import SIGNALS, SignalStopped


@pytest.fixture
def run(run_tasks):
    """Return a function that gives the exit codes and texts of two ranks, which must not hang."""

    def start(act, **limits):
        def watch(rank):
            vars(rank_watch).update(limits)
            try:
                with SIGNALS.installed(), RankWatch(find_launch()) as ranks:
                    ranks.wait("begin")
                    act(rank, ranks)
            except ValueError as error:
                return print("error:", error) or 3
            except ConnectionError as error:
                return print("ended:", error) or 4

        return run_tasks(watch)

    return start


def fail_on_rank_1(rank, ranks):
    if rank == 1:
        raise ValueError("no such file")
    while True:
        time.sleep(0.1)


def wait_in_vain(rank, ranks):
    if rank == 1:
        raise ValueError("no such file")
    ranks.wait("never")


def end_before_the_other(rank, ranks):
    if rank == 1:
        raise SystemExit(UNFINISHED)
    ranks.wait("never")


def wait_for_a_rank_that_a_signal_stops(rank, ranks):
    if rank == 1:
        raise SignalStopped(signal.SIGUSR2)
    with pytest.raises(SignalStopped, match="SIGUSR2") as stop:
        ranks.wait("never")
    raise stop.value


def differ(rank, ranks):
    ranks.check_same({"images": 24 - rank, "top_k": None})


def fail_alike(rank, ranks):
    raise ValueError("no such file")


def kill_rank_1(rank, ranks):
    time.sleep(1)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(0.1)


def test_a_rank_that_fails_ends_another_that_hangs(run):
    codes, (first, second) = run(fail_on_rank_1, _PERIOD=0.2, _GRACE=1.0)
    assert (codes, second) == ([1, 3], "error: no such file\n")
    assert first.count("\n") == 1
    assert "Ended, for rank 1 (" in first
    assert ") has failed: no such file" in first


def test_a_rank_that_waits_for_one_that_fails_raises(run):
    codes, (first, _) = run(wait_in_vain, _PERIOD=0.2)
    assert codes == [4, 3]
    assert ") has failed: no such file" in first


def test_a_rank_does_not_wait_for_one_that_has_ended(run):
    codes, (first, second) = run(end_before_the_other, _PERIOD=0.2)
    assert (codes, second) == ([4, UNFINISHED], "")
    assert first == "ended: Another rank has ended, which this one waits for.\n"


def test_a_rank_that_waits_for_one_that_a_signal_has_stopped_stops_too(run):
    codes, _ = run(wait_for_a_rank_that_a_signal_stops, _PERIOD=0.2)
    assert codes == [UNFINISHED, UNFINISHED]


def test_ranks_that_do_not_do_the_same_end_with_what_differs(run):
    codes, texts = run(differ, _PERIOD=0.2)
    assert sorted(codes) == [1, 3]
    assert "images is 23 and not 24. Start all ranks" in "".join(texts)


def test_the_same_error_on_all_ranks_is_printed_once(run):
    codes, texts = run(fail_alike, _PERIOD=0.2)
    assert sorted(codes) == [1, 3]
    assert sorted(texts) == ["", "error: no such file\n"]


def test_a_killed_rank_is_missed(run):
    codes, (first, _) = run(kill_rank_1, _PERIOD=0.2, _GRACE=0.5, _SILENCE=1.0)
    assert codes == [1, -9]
    assert "rank 1 has given no sign of life" in first


def fail_for_a_dead_rank(rank, ranks):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    SIGNALS.defer()
    os.kill(os.getpid(), signal.SIGTERM)  # The launcher ends what is left of the ranks.
    raise ValueError("connection reset")


def test_a_rank_that_fails_for_a_dead_one_waits_for_nobody_when_the_launcher_ends_all(run):
    start = time.monotonic()
    codes, _ = run(fail_for_a_dead_rank, _PERIOD=0.2, _GRACE=30.0)
    assert codes == [3, -9]
    assert time.monotonic() - start < 25


def test_ranks_that_end_well_end_without_a_word(run):
    codes, texts = run(lambda rank, ranks: time.sleep(0.5 * rank), _PERIOD=0.2)
    assert (codes, texts) == ([0, 0], ["", ""])
