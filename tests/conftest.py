import multiprocessing
import os
import socket
import subprocess
import sys

import pytest
import torch
from PIL import Image

from tltool.evaluation.baselines import MAJORITY, PROBE
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
os.environ.setdefault("WANDB_CONSOLE", "off")

COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 50, 40)}


def write_images(root, classes=("blue", "red"), per_class=12, size=48):
    """Write noisy images of one color for each class."""
    generator = torch.Generator().manual_seed(0)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        color = torch.tensor(COLORS[name], dtype=torch.float)
        for index in range(per_class):
            pixels = color + 25 * torch.randn(size, size, 3, generator=generator)
            image = Image.fromarray(pixels.clamp(0, 255).to(torch.uint8).numpy())
            image.save(root / name / f"{index:02d}.png")
    return root


@pytest.fixture(scope="session", autouse=True)
def feature_cache(tmp_path_factory):
    """Keep features of tests out of the user's cache; processes that tests start inherit it."""
    os.environ["TLTOOL_CACHE"] = str(tmp_path_factory.mktemp("features"))


ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=ON_GPU)])
def accelerator(request):
    """Where a test computes: each that has a case on a GPU has the same one on the CPU."""
    return request.param


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of 12 blue and 12 red images."""
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="session")
def run_two_ranks():
    """Return a function that runs a script as two gloo ranks."""

    def run(script, *arguments, timeout=280):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks = [
            subprocess.Popen(
                [sys.executable, script, *arguments],
                env=environment | {"LOCAL_RANK": str(rank), "NODE_RANK": "0"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(2)
        ]
        try:
            outputs = [rank.communicate(timeout=timeout)[0] for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(outputs)

    return run


@pytest.fixture
def run_tasks(tmp_path):
    """Return a function that calls another as two tasks of srun: exit codes and what they print."""

    def be_task(work, rank, port):
        job = {"JOB_ID": 1, "STEP_ID": 0, "NTASKS": 2, "PROCID": rank, "LOCALID": rank, "NODEID": 0}
        os.environ |= {f"SLURM_{name}": str(value) for name, value in job.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.set_num_threads(1)  # Threads of OpenMP do not outlive a fork.
        sys.stdout = sys.stderr = (tmp_path / f"{rank}.txt").open("w")
        try:
            status = work(rank)
        except SystemExit as stop:
            status = stop.code
        sys.stdout.flush()
        os._exit(status or 0)

    def run(work, timeout=60):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        context = multiprocessing.get_context("fork")  # Nothing is imported anew.
        tasks = [context.Process(target=be_task, args=(work, rank, port)) for rank in range(2)]
        for task in tasks:
            task.start()
        for task in tasks:
            task.join(timeout)
            task.kill()
            task.join()
        texts = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
        return [task.exitcode for task in tasks], texts

    return run


@pytest.fixture
def measured_split():
    """Return a function that makes the predictions of 100 images from how many are right."""

    def make(*, run, probe, majority=50, groups=None):
        labels = torch.tensor([0, 1]).repeat(50)
        right = torch.arange(100) < run
        chosen = torch.where(right, labels, 1 - labels)
        probabilities = torch.full((100, 2), 0.2).scatter(1, chosen[:, None], 0.8)
        return MeasuredSplit(
            split="val",
            class_names=["ants", "bees"],
            predictions=PredictionSet.from_probabilities(probabilities, labels),
            paths=[f"/data/{number}.png" for number in range(100)],
            names=[f"{number}.png" for number in range(100)],
            groups=groups,
            baselines={MAJORITY: torch.arange(100) < majority, PROBE: torch.arange(100) < probe},
            majority="ants",
        )

    return make
