"""A rank that fails ends the others, with its cause, whatever they wait for."""

import os
import signal
import time

import pytest
import torch
import torch.distributed as dist

from tltool.training.distributed import rank_watch
from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.rank_watch import RankWatch
from tltool.training.distributed.run_status import UNFINISHED, StatusOf, read_status
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


def wait_for_a_killed_rank(rank, ranks):
    if rank == 1:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.wait("never")


def kill_rank_1(rank, ranks):
    time.sleep(1)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(0.1)


def sum_with(end_of_rank_1, run_dir):
    """Return what rank 0 does that needs rank 1, and that notes in its status how it ends."""

    def act(rank, ranks):
        dist.init_process_group("gloo", rank=rank, world_size=2)
        dist.barrier()
        if rank == 1:
            end_of_rank_1()
        with StatusOf(run_dir), ranks.naming_losses():
            dist.all_reduce(torch.ones(1))

    return act


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("no such file")


def test_a_run_that_loses_a_rank_is_unfinished_and_says_so_in_one_line(run, tmp_path):
    codes, (first, _) = run(sum_with(be_killed, tmp_path), _PERIOD=0.2, _GRACE=0.5)
    assert (codes, first.count("\n")) == ([4, -9], 1)
    assert "ended: Another rank was lost: it was killed, or hangs" in first
    status = read_status(tmp_path)
    assert (status.state, status.why[:34]) == ("unfinished", "RankLostError: Another rank was lo")


def test_a_run_whose_other_rank_has_an_error_has_failed_of_that(run, tmp_path):
    codes, (first, second) = run(sum_with(fail, tmp_path), _PERIOD=0.2)
    assert (codes, second) == ([4, 3], "error: no such file\n")
    assert ") has failed: no such file" in first
    status = read_status(tmp_path)
    assert (status.state, "has failed: no such file" in status.why) == ("failed", True)


@pytest.mark.parametrize(
    "error",
    [
        dist.DistBackendError("NCCL error: invalid usage. Last error: Duplicate GPU detected"),
        dist.DistNetworkError("The server socket has failed to listen on any address. EADDRINUSE"),
    ],
)
def test_an_error_of_the_setup_is_no_lost_rank(error):
    ranks = RankWatch(find_launch())
    vars(ranks)["_store"] = dist.HashStore()
    with pytest.raises(type(error)) as raised, ranks.naming_losses():
        raise error
    assert raised.value is error


def test_a_rank_that_waits_for_a_killed_one_has_lost_it(run, tmp_path):
    def act(rank, ranks):
        with StatusOf(tmp_path):
            wait_for_a_killed_rank(rank, ranks)

    run(act, _PERIOD=0.2, _GRACE=5.0, _SILENCE=1.0)
    assert read_status(tmp_path).state == "unfinished"


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
