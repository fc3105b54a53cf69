"""`tltool doctor --ranks` names the rank that lacks something, and waits no longer than it says."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tltool.__main__ import main
from tltool.cli import auto_choice
from tltool.cli.build import build
from tltool.cli.doctor_ranks import hash_config
from tltool.cli.rank_trial import run_parent
from tltool.cli.run_start import begin
from tltool.cli.sections import experiment_parser
from tltool.cli.short_forms import rewrite

JOB = Path(__file__).with_name("doctor_ranks_job.py")


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(rank, folder, ports):
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "doctor", "COLUMNS": "300"}
    return subprocess.Popen([sys.executable, JOB, folder, *ports], env=os.environ | place | meeting)


@pytest.fixture(scope="module")
def outputs(images, tmp_path_factory):
    """Return a function: exit status and table of a rank in a scenario, on one line."""
    folder = tmp_path_factory.mktemp("ranks")
    shutil.copytree(images, folder / "images")
    shutil.copytree(images, folder / "fewer")
    next((folder / "fewer").glob("*/00.png")).unlink()
    ports = free_ports(5)
    ranks = [start(rank, folder, ports) for rank in range(2)]
    try:
        assert [rank.wait(timeout=250) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()

    def read(scenario, rank=0):
        status, _, text = (folder / f"{scenario} {rank}").read_text().partition("\n")
        return int(status), re.sub(r"[\s│]+", " ", text)

    return read


@pytest.mark.slow
def test_ranks_that_can_train_together_pass_all_checks(outputs):
    status, text = outputs("healthy")
    assert (status, "0 failed, 8 checks of ranks" in text) == (0, True)


@pytest.mark.slow
def test_only_rank_0_speaks(outputs):
    assert outputs("healthy", rank=1) == (0, "")


@pytest.mark.slow
def test_the_rank_without_images_is_named(outputs):
    status, text = outputs("no images")
    assert status == 1
    assert re.search(r"can start failed rank 1 \(\S+\): There is no folder .*elsewhere", text)


@pytest.mark.slow
def test_the_rank_without_weights_is_named(outputs):
    status, text = outputs("no weights")
    assert status == 1
    assert re.search(r"can start failed rank 1 \(\S+\): .*weights\.pt", text)


@pytest.mark.slow
def test_ranks_with_other_images_are_named_with_their_numbers(outputs):
    status, text = outputs("fewer images")
    assert status == 1
    assert re.search(r"images failed rank 0 on \S+: 20 train.*rank 1 on \S+: 19 train", text)


@pytest.mark.slow
def test_a_rank_that_does_not_come_is_named_within_the_time_limit(outputs):
    status, text = outputs("absent")
    assert (status, "No word from rank 1. Present: rank 0" in text) == (1, True)


@pytest.fixture
def experiment(images):
    """Return a function that builds the experiment of some options."""

    def make(*words):
        model = ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
        parser = experiment_parser("doctor")
        given = [str(images), *model, "--trainer.accelerator", "cpu", *map(str, words)]
        config = parser.parse_args(rewrite(given))
        return build(parser, config, begin(parser, config))

    return make


@pytest.mark.parametrize("place", ["--run_dir", "--runs_dir"])
def test_a_save_is_tried_where_the_run_will_lie(experiment, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared").mkdir()
    assert run_parent(experiment(place, "shared/runs/1")) == tmp_path / "shared"


def test_what_each_rank_finds_for_itself_is_no_other_configuration(experiment, monkeypatch):
    options = ["--budget", "1m", "--seed_everything", "true"]
    epochs = iter([4, 5])  # What the speed of a node allows.
    monkeypatch.setattr(auto_choice, "epochs_of_budget", lambda *_: next(epochs))
    hashes = [hash_config(experiment(*options)) for _ in range(2)]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hash_config(experiment("--trainer.max_epochs", 4))


def test_without_a_launcher_it_says_how_to_start(capsys):
    assert main(["doctor", "--ranks"]) == 1
    assert "srun tltool doctor --ranks" in capsys.readouterr().err
