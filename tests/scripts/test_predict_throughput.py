"""The benchmark of prediction: all ways predict all images."""

import importlib
from pathlib import Path

import pytest

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference.predictor import Predictor
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask

BENCHMARK = Path(__file__).parents[2] / "scripts" / "benchmark"


@pytest.mark.filterwarnings("ignore:The 'predict_dataloader' does not have many workers")
def test_all_ways_predict_all_images(monkeypatch, images):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    script = importlib.import_module("predict_throughput")
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=2, class_names=["blue", "red"])
    options = {"data_config": task.data_config, "class_names": task.class_names}
    data = ImageFolderDataModule(images, batch_size=8, num_workers=0, **options)
    numbers = [way(Predictor(task), data) for way in script.WAYS.values()]
    assert numbers == [24, 24, 24]
