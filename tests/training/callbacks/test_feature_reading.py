"""A network is measured by the features that a run has kept, where they are its own."""

import pytest
import torch
from lightning.pytorch import Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.cache import cached_features
from tltool.inference.predictor import Predictor
from tltool.models.backbone import Backbone
from tltool.training.callbacks.feature_reading import reading_features
from tltool.training.image_task import ImageTask


@pytest.fixture
def task():
    torch.manual_seed(0)
    return ImageTask(
        Backbone("test_resnet", weights="random", img_size=32),
        num_classes=2,
        class_names=["blue", "red"],
    )


@pytest.fixture
def data(images, task):
    options = {"batch_size": 4, "num_workers": 0, "data_config": task.data_config}
    return ImageFolderDataModule(images, val_fraction=0.4, **options)


@pytest.fixture
def measure(task, data, tmp_path):
    """Return a function that validates, and returns the loss and the number of passes."""

    def run(*, enabled=True):
        passes = []
        handle = task.backbone.register_forward_hook(lambda *_: passes.append(1))
        options = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        trainer = Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **options)
        with reading_features(trainer, {"enabled": enabled, "cache_dir": str(tmp_path)}):
            values, _ = Predictor(task).measure(data, "val", trainer=trainer)
        handle.remove()
        return values["val/loss"], len(passes)

    return run


@pytest.fixture
def kept(task, data, tmp_path):
    cached_features(task.backbone, data.dataset("val"), cache=tmp_path)


@pytest.mark.usefixtures("kept")
def test_no_image_passes_through_a_backbone_whose_features_are_kept(measure):
    on_images, number = measure(enabled=False)
    on_features, none = measure()
    assert (number > 1, none) == (True, 0)
    assert on_features == pytest.approx(on_images, rel=1e-4)


@pytest.mark.usefixtures("kept")
def test_features_of_other_weights_are_not_read(measure, task):
    with torch.no_grad():
        next(task.backbone.parameters()).mul_(1.1)
    assert measure()[1] > 1


def test_an_image_without_features_lets_all_be_read(measure, task, data, tmp_path):
    few = data.dataset("val").samples.subset([0, 1])
    images = type(data.dataset("val"))(few, data.transform(), decode=data.decoder)
    cached_features(task.backbone, images, cache=tmp_path)
    assert measure()[1] > 1
