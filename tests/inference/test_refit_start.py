"""The start that was chosen learns from the tuning images too."""

import pytest
import torch

from tests.conftest import write_images
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference.refit_start import refit_start
from tltool.inference.run_gain import measure_gain, measure_probe
from tltool.inference.tested_images import num_trained_on
from tltool.models.backbone import Backbone
from tltool.training.callbacks.ending_files import ENDING
from tltool.training.checkpoint_io import TASK
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import RunFacts

CACHING = {"enabled": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("refit")
    train = write_images(root / "train", per_class=160, size=32)
    for number in range(40):  # With labels that are wrong, no probe is as sure as another one.
        blue, red = (train / name / f"{number:02d}.png" for name in ("blue", "red"))
        other = blue.read_bytes()
        blue.write_bytes(red.read_bytes())
        red.write_bytes(other)
    return write_images(root / "val", per_class=4, size=32).parent


@pytest.fixture
def refit(folder, tmp_path):
    """Return a function that refits a checkpoint; and its head before and after."""

    def run(candidate="start", tuning=0.2, **options):
        torch.manual_seed(0)
        backbone = Backbone("test_resnet", weights="random", img_size=32)
        data = ImageFolderDataModule(
            folder, tuning_fraction=tuning, num_workers=0, data_config=backbone.data_config
        )
        task = ImageTask(backbone, num_classes=2, class_names=data.class_names)
        checkpoint = {"state_dict": task.state_dict(), TASK: task.task_config, "epoch": 3}
        checkpoint["run_facts"] = RunFacts.of(data.splits, 1).state_dict()
        checkpoint["callbacks"] = {"BestCheckpoint": {"best_model_score": torch.tensor(0.75)}}
        checkpoint[ENDING] = {"candidate": candidate, "val/accuracy": 0.75}
        torch.save(checkpoint, tmp_path / "best.ckpt")
        options = {"caching": CACHING, "precision": "32-true", **options}
        done = refit_start(tmp_path / "best.ckpt", data, **options)
        after = torch.load(tmp_path / "best.ckpt", weights_only=True)
        return done, checkpoint, after

    return run


def test_the_start_is_fitted_anew_and_nothing_else_changes(refit):
    done, before, after = refit()
    assert done
    assert after[ENDING]["candidate"] == "start, refit with tuning images"
    changed = [
        name
        for name, value in before["state_dict"].items()
        if not torch.equal(value, after["state_dict"][name])
    ]
    assert changed == ["head.output.weight", "head.output.bias"]
    assert after["epoch"] == 3


def test_tuning_images_are_training_images_of_what_has_learned_them(refit, folder):
    _, before, after = refit()
    data = ImageFolderDataModule(folder, tuning_fraction=0.2, num_workers=0)
    counts = [num_trained_on(data.splits, "val", found) for found in (before, after)]
    assert counts == [0, len(data.samples("val"))]
    sizes = {split: len(names) for split, names in after["run_facts"]["images"].items()}
    assert sizes == {"train": 320, "test": 8}
    assert after["run_facts"]["versions"] == before["run_facts"]["versions"]


def test_the_score_of_the_head_before_is_not_that_of_the_one_that_is_left(refit):
    _, _, after = refit()
    assert after[ENDING] == {"candidate": "start, refit with tuning images"}
    assert after["callbacks"]["BestCheckpoint"] == {"best_model_score": None}


@pytest.mark.parametrize("options", [{"candidate": "0.5 of best epoch"}, {"tuning": 0.0}], ids=str)
def test_other_weights_and_data_without_a_tuning_split_are_left(refit, options):
    done, before, after = refit(**options)
    assert not done
    assert torch.equal(
        before["state_dict"]["head.output.weight"], after["state_dict"]["head.output.weight"]
    )


def test_the_refit_start_gains_nothing_over_the_probe(refit, folder, tmp_path):
    refit()
    task = ImageTask.load_from_checkpoint(tmp_path / "best.ckpt")
    config = task.backbone.data_config
    data = ImageFolderDataModule(folder, tuning_fraction=0.2, num_workers=0, data_config=config)
    probe = measure_probe(task, data, caching=CACHING, precision="32-true")
    gain = measure_gain(task, data, probe, precision="32-true", is_optimistic=False)
    assert probe.split == "test"
    expected = gain.predictions.of_label
    torch.testing.assert_close(probe.predictions.of_label, expected, atol=1e-4, rtol=1e-4)


def test_the_start_is_fitted_on_the_device_of_the_run(refit, monkeypatch):
    devices, move = [], ImageTask.to
    monkeypatch.setattr(ImageTask, "to", lambda self, to: devices.append(to) or move(self, to))
    refit(device=torch.device("cpu"))
    assert devices == [torch.device("cpu")]
