"""A real Slurm of two nodes on this machine, for as long as the tests of this folder run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = CHECKOUT / "scripts" / "slurm"
CLUSTER = SCRIPTS / "local_cluster.sh"
NOT_TO_BE_HAD = 3  # exit status of local_cluster.sh where the packages cannot be installed


class Cluster:
    """Submit batch scripts, and wait for them."""

    def __init__(self, folder, images, environment):
        self.folder = folder
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | environment | {"PYTHONPATH": path, "PATH": programs}
        self.environment |= {"TLTOOL": str(CHECKOUT), "CONFIG": str(folder / "fit.yaml")}
        config = {
            "model": {"backbone": {"name": "test_resnet", "weights": "random", "img_size": 32}},
            "data": {"root": str(images), "batch_size": 4, "num_workers": 1},
            "finetuning": {"class_path": "LPFT", "init_args": {"probe_epochs": 1}},
            "trainer": {"accelerator": "cpu", "max_epochs": 3, "callbacks": "stops.Stops"},
        }
        (folder / "fit.yaml").write_text(yaml.safe_dump(config))

    def submit(self, script, name, *words, stops="", **flags):
        """Start a batch script of scripts/slurm with small resources; return its number."""
        run_dir = {"RUN_DIR": self.folder / name, "RUNS": self.folder / name}
        given = {"cpus-per-task": 1, "output": self.folder / f"{name}.log"} | flags
        options = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
        return subprocess.run(
            ["sbatch", "--parsable", *options, SCRIPTS / script, *words],
            env=self.environment
            | {"TLTOOL_STOPS": stops}
            | {k: str(v) for k, v in run_dir.items()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def wait(self, *jobs, seconds=400):
        """Wait until jobs are over."""
        end = time.monotonic() + seconds
        while left := self._listed(jobs):
            assert time.monotonic() < end, f"{left}\n{self.logs()}"
            time.sleep(0.5)

    def logs(self):
        return "\n".join(log.read_text() for log in sorted(self.folder.glob("*.log")))

    def _listed(self, jobs):
        command = ["squeue", "--noheader", f"--jobs={','.join(jobs)}"]
        found = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        return found.stdout


def write_noise(root, num_images=24):
    """Write images of two classes that nothing tells apart, so that the loss stays far from 0."""
    generator = torch.Generator().manual_seed(0)
    for number in range(num_images):
        folder = root / ("ants", "bees")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 40, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    images = write_noise(folder / "images")
    place = {"TLTOOL_SLURM_DIR": str(folder / "cluster"), "TLTOOL_SLURM_PORT": "26817"}
    place = os.environ | place  # Beside one that somebody has started.
    started = subprocess.run(
        [CLUSTER, "start"], env=place, capture_output=True, text=True, check=False
    )
    if started.returncode == NOT_TO_BE_HAD:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    try:
        assert started.returncode == 0, started.stderr
        exported = started.stdout.split()[-2:]
        yield Cluster(folder, images, dict(word.split("=") for word in exported))
    finally:
        subprocess.run([CLUSTER, "stop"], env=place, check=True)
