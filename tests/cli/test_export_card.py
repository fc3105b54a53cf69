"""`tltool export` to other formats than ONNX, with a model card beside each."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import tltool
from tltool.__main__ import main
from tltool.models.timm_classifier import load_timm_folder
from tltool.training.distributed.run_status import read_status


@pytest.fixture(scope="module")
def checkpoint(images, tmp_path_factory):
    """The best checkpoint of a run of one epoch on the blue and red images."""
    folder = tmp_path_factory.mktemp("run")
    args = ["--runs_dir", str(folder), "--name", "colors", "--data.root", str(images)]
    args += ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
    args += ["--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"]
    args += ["--trainer.max_epochs", "1", "--finetuning", "FullFinetuning"]
    assert main(["fit", *args, "--trainer.accelerator", "cpu"]) == 0
    return folder / "colors" / "0" / "checkpoints" / "best.ckpt"


def matter(card):
    return yaml.safe_load(card.read_text().split("---\n")[1])


def test_a_damaged_best_checkpoint_does_not_keep_the_last_one_from_leaving(checkpoint, tmp_path):
    run = tmp_path / "0"
    shutil.copytree(checkpoint.parent.parent, run)
    (run / "checkpoints/best.ckpt").write_bytes(checkpoint.read_bytes()[:5000])
    words = ["--to", "safetensors", "--output", str(tmp_path / "m.safetensors")]
    assert main(["export", str(run / "checkpoints/last.ckpt"), *words]) == 0
    assert (tmp_path / "m.safetensors.md").is_file()


def test_timm_gets_a_folder_with_its_card(checkpoint, tmp_path, capsys):
    folder = tmp_path / "bugs"
    assert main(["export", str(checkpoint), "--to", "timm", "--output", str(folder)]) == 0
    assert load_timm_folder(folder).num_classes == 2
    card = (folder / "README.md").read_text()
    assert "timm's model beside the checkpoint" in card
    assert "| accuracy |" in card
    assert ".../images" in card
    assert str(checkpoint.parent.parent.parent) not in card
    assert "README.md" in capsys.readouterr().out


def test_the_code_of_the_card_turns_a_photo_as_tltool_does(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["export", str(checkpoint), "--to", "timm", "--output", "bugs", "--no_measure"])
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((60, 40)).save("image.jpg", exif=exif)
    code = Path("bugs/README.md").read_text().split("```python\n")[1].split("```")[0]
    Path("code.py").write_text(code)
    found = runpy.run_path("code.py")["outputs"].detach()
    torch.testing.assert_close(found, tltool.load(checkpoint).logits(["image.jpg"]))


def test_the_minutes_of_the_run_are_in_its_status_and_on_the_card(checkpoint, tmp_path):
    seconds = read_status(checkpoint.parent.parent).seconds
    assert 0 < seconds < 300
    main(["export", str(checkpoint), "--to", "timm", "--output", str(tmp_path / "bugs")])
    assert f"| minutes | {seconds / 60:.1f} |" in (tmp_path / "bugs" / "README.md").read_text()


def test_safetensors_stand_beside_their_card_and_predict(checkpoint, images, tmp_path):
    file = tmp_path / "bugs.safetensors"
    words = ["--to", "safetensors", "--output", str(file), "--no_measure"]
    assert main(["export", str(checkpoint), *words]) == 0
    image = images / "red" / "00.png"
    found, expected = (tltool.load(path).predict(image) for path in (file, checkpoint))
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    card = tmp_path / "bugs.safetensors.md"
    assert matter(card)["library_name"] == "tltool"
    assert "Nothing was measured for this card." in card.read_text()


@pytest.mark.slow
def test_a_graph_of_torch_stands_beside_its_card(checkpoint, tmp_path):
    words = ["--to", "torch-export", "--output", str(tmp_path / "bugs.pt2"), "--fold_norms"]
    assert main(["export", str(checkpoint), *words]) == 0
    assert "Folded 15 of 15 batch norms." in (tmp_path / "bugs.pt2.md").read_text()


def test_a_checkpoint_whose_images_are_gone_has_a_card_that_says_so(
    checkpoint, tmp_path, monkeypatch
):
    def gone(*args, **kwargs):
        raise FileNotFoundError("There is no folder 'images'.")

    monkeypatch.setattr("tltool.cli.export_card.make_section", gone)
    main(["export", str(checkpoint), "--to", "timm", "--output", str(tmp_path / "bugs")])
    card = (tmp_path / "bugs" / "README.md").read_text()
    assert "cannot be read. There is no folder" in card
    assert "model-index" not in card


@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_images_to_compare_on_are_refused(checkpoint, tmp_path, capsys, number):
    words = ["--output", str(tmp_path / "bugs.onnx"), "--max_images", number]
    assert main(["export", str(checkpoint), *words]) == 1
    assert f"--max_images must be at least 1, got {number}" in capsys.readouterr().err


def test_a_run_that_timm_cannot_rebuild_leaves_nothing(checkpoint, tmp_path, capsys):
    status = main(["export", str(checkpoint), "--to", "timm", "--fold_norms"])
    assert status != 0
    assert "`fold_norms` is no option of the format 'timm'" in capsys.readouterr().err
