import pytest
import torch
from lightning.pytorch import Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.models.backbone import Backbone
from tltool.reporting.tables import class_table
from tltool.training.val_predictions import PredictionCollector


@pytest.fixture
def loader(images):
    config = Backbone("test_resnet", weights="random", img_size=32).data_config
    data = ImageFolderDataModule(images, batch_size=3, num_workers=0, data_config=config)
    return data.val_dataloader()


@pytest.fixture
def trainer():
    return Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)


def test_batches_are_put_together_by_image(loader, trainer):
    collector = PredictionCollector(loader, torch.device("cpu"))
    for number in (1, 0):
        batch = list(loader)[number]
        collector.add(torch.eye(2)[batch["labels"]], batch["labels"], number)
    found = collector.gather(trainer)
    assert found.labels.tolist() == loader.images.dataset.samples.labels == [0, 0, 1, 1]
    assert found.accuracy == 1


def test_images_that_were_not_seen_are_left_out(loader, trainer):
    collector = PredictionCollector(loader, torch.device("cpu"))
    collector.add(torch.tensor([[0.2, 0.8]]), torch.tensor([0]), 1)  # The fourth image.
    found = collector.gather(trainer)
    assert found.positions.tolist() == [3]
    assert found.of_label.tolist() == pytest.approx([0.2])


def test_a_rank_without_an_image_has_no_prediction_but_joins_in(loader, trainer):
    assert len(PredictionCollector(loader, torch.device("cpu")).gather(trainer)) == 0


def test_confusion_classes_and_reliability_agree_with_counting(loader, trainer):
    collector = PredictionCollector(loader, torch.device("cpu"))
    collector.add(torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]]), torch.tensor([0, 0, 1]), 0)
    found = collector.gather(trainer)
    assert found.confusion(2).tolist() == [[1, 1], [0, 1]]
    blue = class_table(found.classes(["blue", "red"])).rows[0]
    assert blue == ["blue", 2, 1.0, 0.5, 0.667, 0.8, "red (1)"]
    assert [each.accuracy for each in found.bins] == [0.0, 1.0, 1.0]
