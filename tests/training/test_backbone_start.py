"""An edited backbone takes its values from training images, once."""

from pathlib import Path

import pytest
import torch

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.strategies import LinearProbe
from tltool.models.backbone import Backbone
from tltool.training import backbone_start
from tltool.training.backbone_start import calibrate_backbone_, calibration_images
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

SURGERY = [{"swap_activations": {"to": "gelu", "match": "moments"}}]
JOB = Path(__file__).with_name("backbone_start_job.py")


def make_backbone():
    torch.manual_seed(0)
    return Backbone("test_resnet", weights="random", img_size=32, surgery=SURGERY)


@pytest.fixture
def data(images):
    config = make_backbone().data_config
    return ImageFolderDataModule(images, batch_size=4, num_workers=0, data_config=config)


@pytest.fixture
def fit(data, make_trainer):
    def run(**options):
        task = ImageTask(make_backbone(), num_classes=2)
        trainer = make_trainer(Finetuning(LinearProbe()), max_epochs=1, max_steps=0)
        trainer.fit(task, data, weights_only=True, **options)
        return trainer, task

    return run


def test_a_fit_calibrates_its_backbone_before_the_head_begins(fit, data):
    _, task = fit()
    alone = calibrate_backbone_(make_backbone(), data).state_dict()
    assert not task.backbone.needs_calibration
    assert all(torch.equal(value, alone[key]) for key, value in task.backbone.state_dict().items())
    assert not torch.equal(task.backbone.model.act1.scale, torch.ones(24))


def test_images_of_a_folder_in_order_of_classes_are_shuffled(data, monkeypatch):
    monkeypatch.setattr(backbone_start, "NUM_IMAGES", 8)
    monkeypatch.setattr(backbone_start, "_FEWEST", 8)
    blue = calibration_images(data)[:, 2].mean((1, 2)) > calibration_images(data)[:, 0].mean((1, 2))
    assert data.samples("train").labels == sorted(data.samples("train").labels)
    assert 2 <= blue.sum() <= 6


def test_of_large_images_there_are_fewer(data, monkeypatch):
    monkeypatch.setattr(backbone_start, "NUM_IMAGES", 4)
    monkeypatch.setattr(backbone_start, "_FEWEST", 1)
    monkeypatch.setattr(backbone_start, "_SIZE", 16)
    assert len(calibration_images(data)) == 1


def test_a_resumed_run_takes_its_values_from_the_checkpoint(fit, tmp_path):
    trainer, task = fit()
    torch.nn.init.constant_(task.backbone.model.act1.scale, 7.0)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    _, resumed = fit(ckpt_path=tmp_path / "last.ckpt")
    assert set(resumed.backbone.model.act1.scale.tolist()) == {7.0}


def test_a_resumed_run_reads_no_images_for_it(fit, tmp_path, monkeypatch):
    trainer, _ = fit()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    monkeypatch.delattr(backbone_start, "calibration_images")
    fit(ckpt_path=tmp_path / "last.ckpt")


def test_a_checkpoint_rebuilds_the_values_without_images(fit, tmp_path):
    trainer, task = fit()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    rebuilt, images = (
        ImageTask.load_from_checkpoint(tmp_path / "last.ckpt"),
        torch.randn(2, 3, 32, 32),
    )
    assert torch.equal(rebuilt(images), task.eval()(images))


def test_other_data_are_refused_with_the_remedy(make_trainer):
    task = ImageTask(make_backbone(), num_classes=2)
    batch = {"images": torch.zeros(2, 3, 32, 32), "labels": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match=r"task\.backbone\.calibrate_\(images\) first"):
        make_trainer(max_epochs=1).fit(task, [batch], [batch])


def test_maps_lie_in_the_group_of_their_layer_without_weight_decay():
    backbone = make_backbone()
    groups, task = backbone.layer_groups(), ImageTask(backbone, num_classes=2)
    assert "model.layer3.0.act1.scale" in groups["layer3"]
    decayed = {
        parameter
        for group in task.configure_optimizers().param_groups
        for parameter in group["params"]
        if group["weight_decay"]
    }
    assert backbone.model.layer3[0].act1.scale not in decayed


@pytest.mark.slow
def test_two_ranks_have_the_values_of_the_first(run_two_ranks, data, images, tmp_path):
    run_two_ranks(JOB, str(images), str(tmp_path))
    states = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone = calibrate_backbone_(make_backbone(), data).state_dict()
    assert [list(state) for state in states] == [list(alone)] * 2
    assert all(torch.equal(state[key], alone[key]) for state in states for key in alone)
