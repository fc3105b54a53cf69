"""When a batch script requeues its job, with a `scontrol` that only notes its calls."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "slurm"
JOB = """
RUN_DIR=$PWD TLTOOL=$PWD SLURM_JOB_ID=7 SLURM_JOB_NODELIST=node1 {address}
source "{requeue}"
run bash -c '{command}; exit 85'
"""


@pytest.fixture
def job(tmp_path):
    """Return a function that runs a job whose command ends so, and gives code, calls and errors."""

    def run(command, scontrol="true", address="MASTER_ADDR=node1", **environment):
        programs = tmp_path / ".venv" / "bin"
        programs.mkdir(parents=True)
        (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> calls; {scontrol}\n')
        (programs / "scontrol").chmod(0o755)
        script = JOB.format(requeue=SCRIPTS / "requeue.sh", command=command, address=address)
        ended = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        calls = tmp_path / "calls"
        return ended.returncode, calls.read_text() if calls.exists() else "", ended.stderr

    return run


def say(state):
    text = json.dumps({"state": state, "step": 3}).replace('"', '\\"')
    return f'echo "{text}" > status.json'


@pytest.mark.parametrize("state", ["unfinished", "running"])
def test_a_run_that_was_stopped_or_killed_is_requeued(job, state):
    assert job(say(state))[:2] == (0, "requeue 7\n")


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_a_run_that_is_over_is_not_requeued(job, state):
    assert job(say(state))[:2] == (85, "")


def test_a_later_seed_that_was_stopped_is_requeued(job, tmp_path):
    seed = Path(f"{tmp_path}_seed1")
    seed.mkdir()
    stopped = say("unfinished").replace("status.json", str(seed / "status.json"))
    assert job(f"{say('finished')}; {stopped}")[:2] == (0, "requeue 7\n")


def test_an_earlier_seed_that_was_left_requeues_no_run_that_fails(job, tmp_path):
    seed = Path(f"{tmp_path}_seed1")
    seed.mkdir()
    (seed / "status.json").write_text('{"state": "unfinished", "step": 3}\n')
    assert job(say("failed"))[:2] == (85, "")


def test_a_start_that_never_reached_the_run_is_not_requeued(job, tmp_path):
    (tmp_path / "status.json").write_text('{"state": "unfinished", "step": 3}')
    assert job("true")[:2] == (85, "")


def test_a_job_that_slurm_ends_is_not_requeued_by_itself(job):
    assert job(f"{say('unfinished')}; kill -TERM $PPID")[:2] == (85, "")


def test_a_task_of_an_array_requeues_itself_and_not_the_array(job):
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    assert job(say("unfinished"), **array)[1] == "requeue 7_2\n"


def test_without_scontrol_ranks_look_for_the_first_node_themselves(job):
    errors = job("echo address: ${MASTER_ADDR-none} >&2", scontrol="exit 127", address="")[2]
    assert "address: none\n" in errors


def test_where_requeueing_is_forbidden_it_names_the_other_way(job):
    code, _, errors = job(say("unfinished"), scontrol="false")
    assert (code, "--dependency=singleton" in errors) == (85, True)


def test_relative_paths_are_refused():
    script = f'TLTOOL=tltool RUN_DIR=/runs/1; source "{SCRIPTS / "requeue.sh"}"'
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, "tltool must be an absolute path" in ended.stderr) == (2, True)
