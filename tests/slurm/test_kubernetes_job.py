"""The Kubernetes Job asks for what a job needs that is stopped, and starts again by status.json."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

JOB = Path(__file__).parents[2] / "scripts" / "slurm" / "kubernetes_job.yaml"
POD = yaml.safe_load(JOB.read_text())["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
RESTARTS, IS_OVER = 85, 42


@pytest.fixture
def pod(tmp_path):
    """Return a function that runs the pod's command with a torchrun of one line: its exit code."""

    def run(line):
        torchrun = tmp_path / "torchrun"
        torchrun.write_text(f"#!/bin/bash\n{line}\n")
        torchrun.chmod(0o755)
        environment = {each["name"]: each["value"] for each in CONTAINER["env"]}
        environment |= {"RUN_DIR": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = [*CONTAINER["command"], *CONTAINER["args"]]
        return subprocess.run(command, env=os.environ | environment, check=False).returncode

    return run


def say(state):
    text = json.dumps({"state": state, "step": 3})
    return f"echo '{text}' > $RUN_DIR/status.json"


@pytest.mark.parametrize(
    ("state", "code"),
    [("unfinished", RESTARTS), ("running", RESTARTS), ("failed", IS_OVER), ("finished", 0)],
)
def test_the_status_decides_whether_it_starts_again(pod, state, code):
    assert pod(f"{say(state)}; exit 1") == code


def test_a_start_that_never_reached_the_run_is_the_last_one(pod, tmp_path):
    (tmp_path / "status.json").write_text('{"state": "unfinished", "step": 3}\n')
    assert pod("exit 1") == IS_OVER


def test_a_run_that_is_over_ends_with_0(pod):
    assert pod("exit 0") == 0


def test_sigterm_reaches_the_ranks_and_starts_it_again(pod, tmp_path):
    assert pod("trap 'touch $RUN_DIR/saved; exit 1' TERM; kill $PPID; sleep 20 & wait") == RESTARTS
    assert (tmp_path / "saved").exists()


def test_what_fails_again_ends_the_job_and_an_eviction_does_not():
    policy = yaml.safe_load(JOB.read_text())["spec"]["podFailurePolicy"]
    eviction, failure = policy["rules"]  # The first one that fits counts.
    assert (eviction["action"], eviction["onPodConditions"][0]["type"]) == (
        "Ignore",
        "DisruptionTarget",
    )
    assert (failure["action"], failure["onExitCodes"]["values"]) == ("FailJob", [IS_OVER])


def test_the_pod_has_shared_memory_and_time_for_a_save():
    memory = {volume["name"] for volume in POD["volumes"] if "emptyDir" in volume}
    assert {"name": "shm", "mountPath": "/dev/shm"} in CONTAINER["volumeMounts"]
    assert memory == {"shm"}
    wait = re.search(r"--shutdown-timeout=(\d+)", CONTAINER["args"][0])
    assert POD["terminationGracePeriodSeconds"] > int(wait[1])
