"""A rank that fails ends the others, with its cause, whatever they wait for."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tltool.training.distributed import rank_watch
from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.rank_watch import RankWatch


def run_rank(rank, port, folder, act, limits):
    """Be one of two tasks of srun, on this machine."""
    os.environ |= {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NODEID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    vars(rank_watch).update(limits)
    sys.stdout = sys.stderr = (Path(folder) / f"{rank}.txt").open("w")
    status = 0
    try:
        with RankWatch(find_launch()) as ranks:
            ranks.wait("begin")
            act(rank, ranks)
    except ValueError as error:
        status = print("error:", error) or 3
    except ConnectionError as error:
        status = print("ended:", error) or 4
    except SystemExit as stop:
        status = stop.code
    sys.stdout.flush()
    os._exit(status)


@pytest.fixture
def run(tmp_path):
    """Return a function that gives the exit codes, texts and seconds of two ranks."""

    def start(act, **limits):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        context = multiprocessing.get_context("fork")  # Nothing is imported anew.
        ranks = [
            context.Process(target=run_rank, args=(rank, port, tmp_path, act, limits))
            for rank in range(2)
        ]
        begin = time.monotonic()
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(60)
            rank.kill()
        texts = [(tmp_path / f"{number}.txt").read_text() for number in range(2)]
        return [rank.exitcode for rank in ranks], texts, time.monotonic() - begin

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


def fail_alike(rank, ranks):
    raise ValueError("no such file")


def kill_rank_1(rank, ranks):
    time.sleep(1)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(0.1)


def test_a_rank_that_fails_ends_another_that_hangs(run):
    codes, (first, second), seconds = run(fail_on_rank_1, _PERIOD=0.2, _GRACE=1.0)
    assert (codes, second) == ([1, 3], "error: no such file\n")
    assert first.count("\n") == 1
    assert "Ended, for rank 1 (" in first
    assert ") has failed: no such file" in first
    assert seconds < 30


def test_a_rank_that_waits_for_one_that_fails_raises(run):
    codes, (first, _), _ = run(wait_in_vain, _PERIOD=0.2)
    assert codes == [4, 3]
    assert ") has failed: no such file" in first


def test_the_same_error_on_all_ranks_is_printed_once(run):
    codes, texts, _ = run(fail_alike, _PERIOD=0.2)
    assert sorted(codes) == [1, 3]
    assert sorted(texts) == ["", "error: no such file\n"]


def test_a_killed_rank_is_missed(run):
    codes, (first, _), seconds = run(kill_rank_1, _PERIOD=0.2, _GRACE=0.5, _SILENCE=1.0)
    assert codes == [1, -9]
    assert "rank 1 has given no sign of life" in first
    assert seconds < 30


def test_ranks_that_end_well_end_without_a_word(run):
    codes, texts, _ = run(lambda rank, ranks: time.sleep(rank), _PERIOD=0.2)
    assert (codes, texts) == ([0, 0], ["", ""])
