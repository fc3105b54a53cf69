import pytest
import torch
from lightning.pytorch import Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.diagnosis.calibration import confidence_bins
from tltool.diagnosis.confusion import confusion_matrix
from tltool.models.backbone import Backbone
from tltool.tracking.outcome_tables import class_rows
from tltool.tracking.val_outcomes import OutcomeCollector


@pytest.fixture
def loader(photos):
    config = Backbone("test_resnet", weights="random", img_size=32).data_config
    data = ImageFolderDataModule(photos, batch_size=3, num_workers=0, data_config=config)
    return data.val_dataloader()


@pytest.fixture
def trainer():
    return Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)


def test_batches_are_put_together_by_photo(loader, trainer):
    collector = OutcomeCollector(loader, torch.device("cpu"))
    for number in (1, 0):
        batch = list(loader)[number]
        collector.add(torch.eye(2)[batch["labels"]], batch["labels"], number)
    outcomes = collector.gather(trainer)
    assert outcomes.labels.tolist() == loader.photos.dataset.labels == [0, 0, 1, 1]
    assert outcomes.accuracy == 1


def test_photos_that_were_not_seen_are_left_out(loader, trainer):
    collector = OutcomeCollector(loader, torch.device("cpu"))
    collector.add(torch.tensor([[0.2, 0.8]]), torch.tensor([0]), 1)  # The fourth photo.
    outcomes = collector.gather(trainer)
    assert outcomes.positions.tolist() == [3]
    assert outcomes.of_label.tolist() == pytest.approx([0.2])


def test_a_rank_without_a_photo_has_no_outcome_but_joins_in(loader, trainer):
    assert len(OutcomeCollector(loader, torch.device("cpu")).gather(trainer)) == 0


def test_confusion_classes_and_reliability_agree_with_counting(loader, trainer):
    collector = OutcomeCollector(loader, torch.device("cpu"))
    collector.add(torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]]), torch.tensor([0, 0, 1]), 0)
    outcomes = collector.gather(trainer)
    assert confusion_matrix(outcomes.labels, outcomes.predicted, 2).tolist() == [[1, 1], [0, 1]]
    blue = class_rows(outcomes, ["blue", "red"])[0]
    assert blue == ["blue", 2, 1.0, 0.5, 0.667, 0.8, "red"]
    bins = confidence_bins(outcomes.confidence, outcomes.correct)
    assert [each.accuracy for each in bins] == [0.0, 1.0, 1.0]
