"""A plain LightningDataModule whose batches are pairs goes through all doors of a Trainer."""

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

import tltool
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.step_trace import StepTrace

IMAGES = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 2


def make_task(**options):
    torch.manual_seed(0)
    backbone = tltool.Backbone("test_resnet", weights="random", img_size=32)
    return tltool.ImageTask(backbone, **{"num_classes": 2, **options})


def make_trainer(**options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", enable_checkpointing=False, **quiet, **options)


class Plain(LightningDataModule):
    """What a user has who knows nothing of tltool."""

    def loader(self):
        return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=8)

    train_dataloader = val_dataloader = test_dataloader = loader

    def predict_dataloader(self):
        return DataLoader(IMAGES, batch_size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A task that was trained with phases, health and checkpoints on pairs."""
    folder = tmp_path_factory.mktemp("run")
    own = [tltool.Finetuning(tltool.LPFT(probe_epochs=1)), tltool.FeatureCaching()]
    own += [tltool.HealthMonitor(), StepTrace({}), BestCheckpoint(folder)]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=own,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(make_task(), Plain())
    return folder / "best.ckpt"


def test_pairs_train_and_the_checkpoint_predicts(trained):
    predictor = tltool.load(trained)
    assert predictor.predict((IMAGES[0].sigmoid() * 255).byte()).label in {"0", "1"}


def test_pairs_are_measured_and_predicted(trained):
    task = tltool.load(trained).task
    (measured,) = make_trainer().test(task, Plain(), verbose=False)
    batches = make_trainer().predict(task, Plain())
    probabilities = torch.cat([batch["probabilities"] for batch in batches])
    right = (probabilities.argmax(dim=1) == LABELS).float().mean().item()
    assert measured["test/accuracy"] == pytest.approx(right)


def test_a_pair_trains_as_its_dict_does():
    losses = [
        make_task().training_step(batch, 0).item()
        for batch in [(IMAGES, LABELS), {"images": IMAGES, "labels": LABELS}]
    ]
    assert losses[0] == losses[1]


def test_mixed_labels_are_measured_by_the_larger_share():
    shares = torch.nn.functional.one_hot(LABELS, 2) * 0.6 + 0.2
    data = DataLoader(TensorDataset(IMAGES, shares), batch_size=8)
    (measured,) = make_trainer().validate(make_task(), data, verbose=False)
    assert 0 <= measured["val/accuracy"] <= 1


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ((IMAGES, LABELS, LABELS), "The batch is a tuple of 3. A task takes a dict of `images`"),
        (IMAGES, "The batch is a Tensor. A task takes"),
        ({"pixel_values": IMAGES, "labels": LABELS}, "a dict of pixel_values, labels. A task"),
        ({"images": IMAGES}, "a dict of images. A task takes a dict of `images` (B, C, H, W)"),
        ((IMAGES[:, 0], LABELS), "The images are (16, 32, 32) of float32. A task takes"),
        (((IMAGES * 9).byte(), LABELS), "The images are (16, 3, 32, 32) of uint8. A task takes"),
        ((IMAGES, LABELS[:, None]), "The labels are (16, 1) of int64. A task takes"),
        ((IMAGES, LABELS.float()), "labels are (B,) whole numbers from 0 on"),
        ((IMAGES, LABELS + 1), "The labels are from 1 to 2, and there are 2 classes"),
    ],
    ids=["three", "images", "keys", "unlabeled", "gray", "bytes", "column", "floats", "from one"],
)
def test_another_form_is_refused_with_the_one_that_is_needed(batch, said):
    loader = DataLoader([0], collate_fn=lambda _: batch)
    with pytest.raises((TypeError, ValueError)) as error:
        make_trainer().validate(make_task(), loader)
    assert said in str(error.value)


def test_who_prepares_the_images_is_said_where_no_datamodule_of_ours_does(caplog):
    make_trainer(max_epochs=1, limit_train_batches=1).fit(make_task(), Plain())
    assert "resizes them to 32 px, mean" in caplog.text
    caplog.clear()
    config = make_task().data_config
    task = make_task(data_config=config)
    make_trainer(max_epochs=1, limit_train_batches=1).fit(task, Plain())
    assert "px, mean" not in caplog.text
