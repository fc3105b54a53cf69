"""`tltool verify`: some steps of a run are trained again, and compared bit for bit."""

import shutil

import onnx
import pytest
import torch
from PIL import Image

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.training import resume_facts

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--finetuning", "LPFT", "--trainer.max_epochs", "3"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Images, and a run of one epoch of the head and two of everything, the last but one best."""
    folder = tmp_path_factory.mktemp("run")
    images = write_images(folder / "images")
    words = ["--data.root", images, "--run_dir", folder / "mine", *SMALL, "--monitor", "val/loss"]
    assert main(["fit", *map(str, words)]) == 0
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the run, and of its images, which lie where the run knows them."""
    shutil.copytree(trained / "mine", tmp_path / "mine")
    yield tmp_path / "mine"
    write_images(trained / "images")


@pytest.fixture
def verify(copied, capsys):
    """Return a function that verifies the copy, or a file: status and what is printed."""

    def run(*words, path=copied):
        capsys.readouterr()
        return main(["verify", str(path), *map(str, words)]), "".join(capsys.readouterr())

    return run


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_weight(path):
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["head.output.bias"][0] += 1e-6
    torch.save(checkpoint, path)


def test_a_run_that_is_as_it_was_has_the_same_bits_and_is_left_alone(verify, copied):
    before = content(copied)
    status, out = verify()
    assert status == 0
    assert "3 steps of epoch 3, from best.ckpt" in out
    assert "same bits" in out
    assert "changed" not in out
    assert content(copied) == before


def test_without_an_earlier_checkpoint_the_start_is_replayed(verify, copied):
    (copied / "checkpoints" / "best.ckpt").unlink()
    status, out = verify()
    assert (status, "3 steps of epoch 1, from the start of the run" in out) == (0, True)


def test_an_image_that_was_changed_is_named(verify, trained):
    name = trained / "images" / "red" / "03.png"
    for path in (trained / "images").rglob("*.png"):  # Which of them train, the split decides.
        if path.name == name.name:
            Image.new("RGB", (48, 48), (0, 255, 0)).save(path)
    status, out = verify()
    assert status == 1
    assert "images     " in out
    assert f"{name.name}: " in out


def test_a_key_that_was_changed_is_named_and_the_weights_that_follow(verify, copied):
    file = copied / "config.yaml"
    file.write_text(file.read_text().replace("lr: 0.001", "lr: 0.002"))
    status, out = verify()
    assert status == 1
    assert "changed    optimizer.init_args.lr was 0.001 and is 0.002\n" in out
    assert "weights    " in out
    assert "images " not in out


def test_steps_are_replayed_with_the_configuration_that_counted_then(verify, copied):
    file = copied / "config.yaml"
    shutil.copy(file, copied / "config.1.yaml")  # As a resume with a change leaves them.
    file.write_text(file.read_text().replace("lr: 0.001", "lr: 0.002"))
    status, out = verify()
    assert (status, "changed" in out) == (0, False)


def test_another_version_is_named_though_the_bits_are_the_same(verify, monkeypatch):
    now = resume_facts.package_versions()
    monkeypatch.setattr(resume_facts, "package_versions", lambda: now | {"timm": "0.1"})
    status, out = verify()
    assert f"changed    versions.timm was '{now['timm']}' and is '0.1'\n" in out
    assert status == 0


def test_a_weight_of_a_checkpoint_that_was_changed_is_found(verify, copied):
    change_weight(copied / "checkpoints" / "best.ckpt")
    status, out = verify()
    assert status == 1
    assert "weights    head.output.bias: 1 of " in out
    assert "differs    first at step 7, in epoch 3\n" in out


def test_an_option_says_where_the_images_lie_now(verify, trained, tmp_path):
    moved = shutil.move(trained / "images", tmp_path / "images")
    status, out = verify("--data.root", moved)
    assert (status, "same bits" in out) == (0, True)


def test_a_run_of_two_processes_is_refused(verify, copied):
    path = copied / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["run_facts"]["world_size"] = 2
    torch.save(checkpoint, path)
    status, out = verify()
    assert (status, "was trained by 2 processes" in out) == (1, True)


def test_a_run_without_kept_steps_says_so(verify, copied):
    path = copied / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["callbacks"]["StepTrace"]
    torch.save(checkpoint, path)
    status, out = verify()
    assert (status, "holds no steps to compare with" in out) == (1, True)


@pytest.mark.slow
def test_an_exported_file_is_replayed_and_what_differs_is_named(copied, verify):
    file = copied / "model.onnx"
    assert main(["export", str(copied / "checkpoints" / "last.ckpt"), "--output", str(file)]) == 0
    assert verify(path=file)[0] == 0
    model = onnx.load(file)
    metadata = {each.key: each for each in model.metadata_props}
    metadata["class_names"].value = '["ants", "bees"]'
    onnx.save(model, file)
    status, out = verify(path=file)
    assert (status, "changed: metadata class_names\n" in out) == (1, True)


def test_a_checkpoint_is_no_run(copied, verify):
    status, out = verify(path=copied / "checkpoints" / "last.ckpt")
    assert (status, "Name the directory of its run" in out) == (1, True)
