"""The templates of scripts/slurm say what a job needs that is stopped and starts again."""

import subprocess
from pathlib import Path

import pytest
import yaml

SCRIPTS = Path(__file__).parents[2] / "scripts" / "slurm"
TEMPLATES = sorted(SCRIPTS.glob("*.sbatch"))


@pytest.mark.parametrize("file", [*TEMPLATES, *SCRIPTS.glob("*.sh")], ids=lambda file: file.name)
def test_a_script_is_correct_bash(file):
    subprocess.run(["bash", "-n", file], check=True)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
@pytest.mark.parametrize(
    "words",
    ["--signal=USR2@120", "--open-mode=append", "--requeue", "--gpus-per-node", "--cpus-per-task"],
)
def test_a_batch_script_asks_for(file, words):
    header = [line for line in file.read_text().splitlines() if line.startswith("#SBATCH")]
    assert words in " ".join(header)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_batch_script_ends_all_ranks_with_the_first(file):
    assert "run srun --kill-on-bad-exit=1" in file.read_text()


def test_the_pod_has_shared_memory_and_time_for_a_save():
    job = yaml.safe_load((SCRIPTS / "kubernetes_job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    memory = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]
    assert memory == {"shm"}
    [wait] = [word for word in container["command"] if word.startswith("--shutdown-timeout")]
    assert pod["terminationGracePeriodSeconds"] > int(wait.partition("=")[2])
