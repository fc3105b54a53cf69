"""`tltool merge`, and what `tltool fit` makes of the section ``ending``."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.models.backbone import Backbone
from tltool.training.checkpoint_io import CONFIG, TASK
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import image_hashes

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "2", "--health.enabled", "false"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    """A run that ends with WiSE-FT, and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "runs"
    words = ["fit", "--data.root", str(images), *SMALL, "--runs_dir", str(folder)]
    words += ["--finetuning", "FullFinetuning", "--ending.average", "wise_ft"]
    words += ["--ending.points", "[0, 0.5, 1]", "--wandb.project", "mine", "--wandb.offline"]
    assert main([*words, "true"]) == 0
    return folder / "images" / "0"


def test_a_run_keeps_its_start_and_a_table_of_what_competed(run):
    assert (run / "checkpoints" / "start.pt").is_file()
    assert (
        (run / "ending.csv")
        .read_text()
        .startswith("candidate,share,statistics,loss,accuracy,chosen\n")
    )


def test_a_soup_keeps_the_best_epochs(run_tltool, images):
    words = ["--data.root", images, *SMALL, "--finetuning", "LinearProbe"]
    words += ["--ending.average", "soup", "--ending.keep", "1"]
    status, out, err = run_tltool("fit", *words)
    assert status == 0, err
    assert re.search(r"Ending: best\.ckpt holds .*, val/accuracy ", err + out)
    names = {path.name for path in Path("runs/images/0/checkpoints").glob("epoch_*.ckpt")}
    assert names == {"epoch_0.ckpt"}
    status, out, err = run_tltool("merge", "runs/images/0", "--average", "soup")
    assert status == 0, err
    assert "soup of best epoch + last epoch" in out


def test_a_run_merges_on_its_own_images_and_predicts(run, run_tltool, images):
    status, out, err = run_tltool("merge", run)
    assert status == 0, err
    assert "optimistic: the same 4 validation images choose and report" in out
    assert out.strip().endswith(": merged.ckpt")
    status, _, err = run_tltool("predict", "--ckpt_path", "merged.ckpt", "--data.root", images)
    assert status == 0, err


def test_a_merge_chooses_by_what_the_run_has_chosen_by(run, run_tltool, tmp_path):
    place = shutil.copytree(run, tmp_path / "run")
    for path in (place / "checkpoints").glob("*.ckpt"):
        content = torch.load(path, weights_only=True)
        content[CONFIG]["monitor"] = "val/f1"
        torch.save(content, path)
    status, out, err = run_tltool("merge", place)
    assert (status, "val/f1" in out) == (0, True), err


def test_it_trains_on_from_merged_weights(run, run_tltool, images):
    run_tltool("merge", run, "--share", "0.5")
    words = ["--data.root", images, *SMALL, "--model.backbone.weights", "merged.ckpt"]
    status, _, err = run_tltool("fit", *words, "--trainer.fast_dev_run", "true")
    assert status == 0, err


def test_a_share_needs_no_images(run, run_tltool):
    status, out, err = run_tltool("merge", run, "--share", "0.25", "--output", "quarter.ckpt")
    assert status == 0, err
    assert out.strip() == "0.25 of best epoch: quarter.ckpt"


def test_other_images_are_given_as_for_fit(run, run_tltool, images):
    words = ["--average", "uniform", "--data.root", images, "--data.num_workers", "0"]
    status, out, err = run_tltool("merge", run, run / "checkpoints" / "last.ckpt", *words)
    assert status == 0, err
    assert "the same 4 validation images" in out
    assert out.strip().endswith("last.ckpt: merged.ckpt")


@pytest.fixture
def write_checkpoint(images, tmp_path):
    """Return a function that writes the checkpoint of a run with half of the images in val."""

    def write(name, seed, root=images, **options):
        backbone = Backbone("test_resnet", weights="random", img_size=32)
        given = {"root": str(root), "seed": seed, "val_fraction": 0.5, **options}
        data = ImageFolderDataModule(**given, data_config=backbone.data_config)
        task = ImageTask(backbone, num_classes=2, class_names=data.class_names)
        section = {"class_path": "ImageFolderDataModule", "init_args": given}
        content = {TASK: task.task_config, "state_dict": task.state_dict()}
        content |= {CONFIG: {"data": section}, "run_facts": {"images": image_hashes(data.splits)}}
        torch.save(content, tmp_path / name)
        return content["run_facts"]["images"]["train"]

    return write


MEAN = ("a.ckpt", "b.ckpt", "--average", "uniform")
DATA = ("--data.num_workers", "0", "--trainer.accelerator", "cpu", "--data.root")


def test_other_images_are_split_as_in_the_run_where_nothing_else_is_given(
    write_checkpoint, run_tltool, images
):
    write_checkpoint("a.ckpt", seed=3)
    write_checkpoint("b.ckpt", seed=3)
    status, out, err = run_tltool("merge", *MEAN, *DATA, images)
    assert (status, "trained on" in err) == (0, False), err
    assert "the same 12 validation images" in out


def test_the_images_that_a_run_called_test_report_and_do_not_choose(
    write_checkpoint, run_tltool, tmp_path
):
    write_images(tmp_path / "images/train", per_class=150, size=8)
    write_images(tmp_path / "images/val", per_class=4, size=8)
    for name in MEAN[:2]:
        write_checkpoint(name, seed=3, root=tmp_path / "images", tuning_fraction=0.2)
    status, out, err = run_tltool("merge", *MEAN, *DATA, tmp_path / "images")
    assert (status, "trained on" in err) == (0, False), err
    assert "8 test images" in out


def test_images_that_choose_and_have_trained_are_counted(write_checkpoint, run_tltool, images):
    write_checkpoint("a.ckpt", seed=3)
    write_checkpoint("b.ckpt", seed=4)
    status, _, err = run_tltool("merge", "a.ckpt", "b.ckpt", "--average", "soup")
    assert status == 0, err
    assert "of these 12 val images have names of images that a network of this merge was" in err
    words = ("--ckpt_path", "merged.ckpt", *DATA, images)
    _, _, err = run_tltool("validate", *words)
    assert "of these 12 images have names of images that this checkpoint was trained on" in err


def test_a_merged_checkpoint_knows_what_each_network_has_trained_on(write_checkpoint, run_tltool):
    trained = [write_checkpoint("a.ckpt", seed=3), write_checkpoint("b.ckpt", seed=4)]
    assert run_tltool("merge", *MEAN)[0] == 0
    found = torch.load("merged.ckpt", weights_only=True)["run_facts"]["images"]["train"]
    assert set(found.tolist()) == set(torch.cat(trained).tolist())


def test_a_file_that_is_there_is_not_overwritten(run, run_tltool, tmp_path):
    (tmp_path / "merged.ckpt").write_text("mine")
    status, _, err = run_tltool("merge", run)
    assert (status, (tmp_path / "merged.ckpt").read_text()) == (1, "mine")
    assert "error: 'merged.ckpt' exists. Name a new file, or remove it first." in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["RUN", "--points", "[0, 1]"],
            "Each value of --points is a number, with a space",
        ),
        (["nowhere"], "There is no checkpoint 'nowhere'"),
        (["--share", "0.5"], "checkpoints"),
        (["RUN", "--average", "greedy"], "Choose one of: wise_ft, soup, uniform"),
        (["RUN", "--share", "2"], "in [0, 1], got 2.0"),
    ],
)
def test_wrong_words_are_one_line(run, run_tltool, words, message):
    status, _, err = run_tltool("merge", *(run if word == "RUN" else word for word in words))
    assert status in (1, 2)
    assert message in err
    assert "Traceback" not in err


def test_the_summary_of_weights_and_biases_has_the_end(run):
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    (record,) = (run / "wandb").glob("offline-run-*/*.wandb")
    assert b"ending/candidate" in record.read_bytes()
    assert "task_config" in checkpoint
