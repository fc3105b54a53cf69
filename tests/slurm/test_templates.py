"""The templates of scripts/slurm say what a job needs that is stopped and starts again."""

import os
import subprocess
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_batch_script_has_four_lines_to_change_before_what_it_does(file):
    lines = file.read_text().partition("source ")[0].splitlines()
    options = [line for line in lines if line.startswith("#SBATCH --nodes")]
    places = [line for line in lines if "=${" in line and ":-/absolute/path/of/" in line]
    assert (len(options), len(places)) == (1, 3)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_batch_script_resumes_and_saves_by_the_clock(file):
    command = file.read_text().partition("run srun")[2]
    assert '--run_dir "$RUN_DIR" --save_every 10m' in command


def test_a_cluster_that_cannot_be_started_is_a_reason_to_skip(tmp_path):
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    place = {
        "TLTOOL_SLURM_DIR": str(tmp_path / "cluster"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    command = [SCRIPTS / "local_cluster.sh", "start"]
    ended = subprocess.run(
        command, env=os.environ | place, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (
        3,
        "The daemons of this Slurm run as root: start it as root.\n",
    )
    assert not (tmp_path / "cluster").exists()
