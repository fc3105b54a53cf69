"""What is no checkpoint of tltool, given to every command that takes one."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import write_images
from tltool.__main__ import main

NETWORK = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--trainer.accelerator", "cpu"),
]
RUN = [
    *NETWORK,
    *("--trainer.max_epochs", "1", "--health.enabled", "false", "--data.batch_size", "2"),
]
COMMANDS = {
    **{name: [name] for name in ("validate", "test", "predict")},
    **{name: [name, *NETWORK] for name in ("fit", "doctor", "plan", "compare")},
    "features": ["features", "compute", *NETWORK],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Images, and a run on them."""
    folder = tmp_path_factory.mktemp("run")
    write_images(folder / "images", per_class=4, size=32)
    places = ["--data.root", str(folder / "images"), "--runs_dir", str(folder / "runs")]
    assert main(["fit", *RUN, *places, "--data.num_workers", "0"]) == 0
    return folder


def write_text(path, whole):
    path.write_text("no checkpoint\n")


def write_page(path, whole):
    path.write_text("<!DOCTYPE html>\n<html>Sign in</html>")


def write_half(path, whole):
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


def write_lightning(path, whole):
    content = {"pytorch-lightning_version": "2.5.0", "hyper_parameters": {"lr": 0.1}}
    torch.save(content | {"state_dict": {"model.fc.weight": torch.ones(2)}}, path)


def write_network(path, whole):
    torch.save(torch.nn.Linear(2, 2), path)


def write_tensor(path, whole):
    torch.save(torch.ones(2), path)


def write_safetensors(path, whole):
    save_file({"fc.weight": torch.ones(2)}, path)


def write_older(path, whole):
    content = torch.load(whole, weights_only=True)
    torch.save(content | {"task_config": {"tltool": "0.0.1"}}, path)


def write_changed(path, whole):
    content = torch.load(whole, weights_only=True)
    torch.save(content | {"state_dict": {"head.weight": torch.ones(2)}}, path)


FILES = {
    "text": (write_text, "is a text file."),
    "empty": (lambda path, whole: path.touch(), "is empty. Download or copy it again."),
    "page": (write_page, "is a web page: the download went wrong."),
    "half": (write_half, "is damaged: its end is missing. Download or copy it again."),
    "lightning": (write_lightning, "is no checkpoint of tltool, which says how to rebuild"),
    "network": (write_network, "such as torch.nn.modules.linear.Linear; tltool does not unpickle"),
    "tensor": (write_tensor, "is no checkpoint of tltool"),
    "safetensors": (write_safetensors, "To start from its weights, set `model.backbone.weights`"),
    "directory": (lambda path, whole: path.mkdir(), "is a directory. Name a checkpoint, such as"),
    "missing": (lambda path, whole: None, "There is no checkpoint"),
}


def check_one_line(capsys, words, said):
    status = main([str(word) for word in words])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1
    assert error.startswith("error: ")
    assert said in error


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_refuses_a_text_file_in_one_line(run, command, tmp_path, capsys):
    write_text(tmp_path / "best.ckpt", None)
    data = ["--data.root", run / "images", "--ckpt_path", tmp_path / "best.ckpt"]
    check_one_line(capsys, [*COMMANDS[command], *data], "best.ckpt' is a text file.")


@pytest.mark.parametrize("command", ["predict", "fit"])
@pytest.mark.parametrize("file", FILES)
def test_each_file_is_refused_in_one_line(run, command, file, tmp_path, capsys):
    write, said = FILES[file]
    write(tmp_path / "best.ckpt", run / "runs/images/0/checkpoints/last.ckpt")
    data = ["--data.root", run / "images", "--ckpt_path", tmp_path / "best.ckpt"]
    check_one_line(capsys, [*COMMANDS[command], *data], said)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_older, "does not say how to make its backbone and head: tltool 0.0.1 wrote it"),
        (write_changed, "do not fit the model that it describes: backbone.model.conv1.0.weight"),
    ],
)
def test_a_checkpoint_of_other_code_is_refused_in_one_line(run, write, said, tmp_path, capsys):
    write(tmp_path / "best.ckpt", run / "runs/images/0/checkpoints/last.ckpt")
    data = ["--data.root", run / "images", "--ckpt_path", tmp_path / "best.ckpt"]
    check_one_line(capsys, ["predict", *data], said)


def test_a_run_directory_names_the_checkpoints_in_it(run, capsys):
    data = ["--data.root", run / "images", "--ckpt_path", run / "runs/images/0"]
    check_one_line(capsys, ["predict", *data], "checkpoints/best.ckpt' or '")


def test_a_report_refuses_a_damaged_checkpoint_in_one_line(run, tmp_path, capsys):
    shutil.copytree(run / "runs/images/0", tmp_path / "0")
    write_half(tmp_path / "0/checkpoints/best.ckpt", tmp_path / "0/checkpoints/last.ckpt")
    check_one_line(capsys, ["report", tmp_path / "0"], "is damaged: its end is missing")


@pytest.mark.parametrize(
    "content",
    [
        *(b"PK\x03\x04\x80\xff", b"a: [1", b"<html>"),
        b"{data: null, trainer: {}, finetuning: {}, model: {}, optimizer: {}}",
        b"{data: {}, trainer: 1, finetuning: {}, model: {}, optimizer: {}}",
        b"{data: {}, trainer: {}, finetuning: {}, model: null, optimizer: {}}",
    ],
)
def test_a_report_refuses_a_damaged_configuration_in_one_line(content, tmp_path, capsys):
    (tmp_path / "config.yaml").write_bytes(content)
    check_one_line(capsys, ["report", tmp_path], "is not the whole configuration of a run")


def test_a_report_of_a_checkpoint_asks_for_its_run(run, capsys):
    best = run / "runs/images/0/checkpoints/best.ckpt"
    check_one_line(capsys, ["report", best], "Name a run directory")


def test_a_checkpoint_gives_its_backbone_as_weights(run, tmp_path, capsys):
    best = run / "runs/images/0/checkpoints/best.ckpt"
    words = ["--data.root", run / "images", "--runs_dir", tmp_path, "--trainer.fast_dev_run", "1"]
    words = ["fit", *RUN, *words, "--data.num_workers", "0", "--model.backbone.weights", best]
    assert main([str(word) for word in words]) == 0
    assert f"from {best}; left out: none; random: none" in capsys.readouterr().err


def test_a_checkpoint_given_as_configuration_is_refused(run, run_tltool):
    checkpoint = run / "runs" / "images" / "0" / "checkpoints" / "last.ckpt"
    status, _, err = run_tltool("fit", "--config", checkpoint)
    assert status == 2
    assert "last.ckpt' is no YAML file. Name one, such as the config.yaml of a run" in err
