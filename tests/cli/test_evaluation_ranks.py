"""`predict` and `validate` over the ranks of torchrun and srun, which may be killed."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from tltool.__main__ import main
from tltool.inference.prediction_chunks import chunks_folder
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask

NUM_IMAGES = 1003


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a checkpoint and 1,003 tiny images."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "images").mkdir()
    for number in range(NUM_IMAGES):
        color = tuple((number * step) % 256 for step in (7, 31, 101))
        Image.new("RGB", (8, 8), color).save(folder / "images" / f"{number:04}.png")
    for name in ("0", "1", "2"):
        (folder / "labeled" / "val" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "labeled" / "val" / name / "a.png")
    torch.manual_seed(0)
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=3)
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(folder / "best.ckpt")
    return folder


QUICK = ["--trainer.accelerator", "cpu", "--data.num_workers", "0", "--data.batch_size", "8"]


def words(desk, output):
    given = ["--ckpt_path", desk / "best.ckpt", "--data.root", desk / "images", "--output", output]
    return ["-m", "tltool", "predict", *map(str, given), *QUICK]


def start(command, **environment):
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def torchrun(num_ranks):
    return ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_ranks)]


def finish(process, timeout=200):
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return output


@pytest.fixture
def one_thread():
    """As torchrun sets it: how many share a sum decides its last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_two_killed_ranks_go_on_and_write_what_one_process_writes(desk, run_tltool, one_thread):
    run_tltool(*words(desk, desk / "alone.csv")[2:])
    alone = (desk / "alone.csv").read_bytes()
    output = desk / "killed.csv"
    ranks = start([*torchrun(2), *words(desk, output)])
    while len(list(chunks_folder(output).glob("*/*.npz"))) < 60 and ranks.poll() is None:
        time.sleep(0.01)
    # The ranks have sessions of their own. The launcher first, which else would end them in order.
    found = subprocess.run(["pgrep", "-P", str(ranks.pid)], capture_output=True, check=True)
    for pid in (ranks.pid, *map(int, found.stdout.split())):
        os.kill(pid, signal.SIGKILL)
    finish(ranks)
    num_kept = len(list(chunks_folder(output).glob("*/*.npz")))
    assert 60 <= num_kept < NUM_IMAGES // 8
    assert not output.exists()
    said = finish(start([*torchrun(2), *words(desk, output)]))
    assert output.read_bytes() == alone, said
    assert said.count("1003 predictions") == 1
    assert not chunks_folder(output).exists()
    paths = [row["path"] for row in csv.DictReader(alone.decode().splitlines())]
    assert paths == [str(desk / "images" / f"{number:04}.png") for number in range(NUM_IMAGES)]


@pytest.mark.slow
def test_two_ranks_print_their_measurement_once(desk, run_tltool):
    given = ["validate", "--ckpt_path", desk / "best.ckpt", "--data.root", desk / "labeled", *QUICK]
    _, alone, _ = run_tltool(*given)
    ranks = start([*torchrun(2), "-m", "tltool", *map(str, given)])
    said = finish(ranks)
    assert ranks.returncode == 0, said
    for line in alone.splitlines():
        assert said.count(line.strip()) == alone.count(line.strip())


@pytest.fixture
def as_rank(monkeypatch):
    """Return a function that makes this process one of the ranks that srun has started."""

    def make(rank, world_size=2, **variables):
        told = {"SLURM_PROCID": rank, "SLURM_NTASKS": world_size, "SLURM_LOCALID": rank}
        for name, value in {**told, "SLURM_STEP_ID": 0, "SLURM_JOB_ID": 7, **variables}.items():
            monkeypatch.setenv(name, str(value))

    return make


LIMIT = ["--trainer.limit_predict_batches", "5"]


def test_tasks_of_srun_write_the_file_of_one_process(desk, run_tasks, run_tltool, tmp_path):
    run_tltool(*words(desk, "alone.csv")[2:], *LIMIT)
    codes, texts = run_tasks(lambda rank: main([*words(desk, "p.csv")[2:], *LIMIT]))
    assert codes == [0, 0], texts
    assert ["40 predictions" in text for text in texts] == [True, False]
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_a_rank_without_the_checkpoint_ends_the_others(desk, run_tasks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    named = [["--ckpt_path", str(desk / "best.ckpt")], ["--ckpt_path", "no.ckpt"]]
    codes, (first, _) = run_tasks(lambda rank: main([*words(desk, "p.csv")[2:], *named[rank]]))
    assert codes == [1, 1]
    assert "has failed: There is no checkpoint 'no.ckpt'" in first


def test_ranks_that_would_predict_other_images_end(desk, run_tasks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    roots = [["--data.root", str(desk / name)] for name in ("images", "labeled")]
    codes, texts = run_tasks(lambda rank: main([*words(desk, "p.csv")[2:], *roots[rank]]))
    assert codes == [1, 1]
    assert "num_images is 3 and not 1003" in "".join(texts)


def test_devices_that_contradict_the_launcher_are_refused(desk, as_rank, run_tltool):
    as_rank(0)
    status, _, err = run_tltool(*words(desk, "p.csv")[2:], "--trainer.devices", 4)
    assert status == 1
    assert "Slurm has started 2 processes on a node, but trainer.devices asks for 4" in err


def test_several_devices_of_one_process_are_refused_with_the_command(desk, run_tltool):
    status, _, err = run_tltool(*words(desk, "p.csv")[2:], "--trainer.devices", 2)
    assert status == 1
    assert "torchrun --standalone --nproc_per_node 2 -m tltool predict" in err


def test_more_classes_than_there_are_cannot_be_shown(desk, run_tltool):
    status, _, err = run_tltool(*words(desk, "p.csv")[2:], "--top_k", 4)
    assert status == 1
    assert "--top_k 4 is not possible with 3 classes" in err


@pytest.mark.parametrize(("top_k", "last"), [("2", "probability2"), ("all", "probability:2")])
def test_the_columns_are_chosen(desk, run_tltool, tmp_path, top_k, last):
    limit = ["--trainer.limit_predict_batches", "1", "--top_k", top_k]
    status, _, err = run_tltool(*words(desk, "p.csv")[2:], *limit)
    assert status == 0, err
    assert (tmp_path / "p.csv").read_text().splitlines()[0].endswith(last)
