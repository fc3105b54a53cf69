"""Small networks of four families learn with every activation in the head."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer

from tltool.data.folder import ImageFolderDataModule
from tltool.finetuning.callback import Finetuning
from tltool.finetuning.strategies import FullFinetuning, LinearProbe
from tltool.layers.activations import ACTIVATIONS
from tltool.models.backbone import Backbone
from tltool.models.heads import MLPHead
from tltool.tasks.image_task import ImageTask

FAMILIES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]


def losses_of_fit(photos, name, activation, strategy, epochs=6):
    torch.manual_seed(0)
    backbone = Backbone(name, weights="random", img_size=32)
    data = ImageFolderDataModule(
        photos, data_config=backbone.data_config, batch_size=8, num_workers=0
    )
    head = partial(MLPHead, hidden_features=[16], activation=activation)
    optimizer = partial(torch.optim.AdamW, lr=3e-3)
    task = ImageTask(backbone, head, num_classes=2, optimizer=optimizer)
    losses = []
    task.on_validation_epoch_end = lambda: (
        losses.append(float(task.metrics["val_metrics"].compute()["val/loss"]))
        or task._log_metrics("val")
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[Finetuning(strategy)],
        enable_checkpointing=False,
        num_sanity_val_steps=-1,  # The whole validation set: the loss before training.
        **quiet,
    )
    trainer.fit(task, data)
    return losses


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_probe_with_each_activation_learns(photos, activation):
    losses = losses_of_fit(photos, "test_efficientnet", activation, LinearProbe())
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_learns_with_each_activation(photos, name, activation):
    losses = losses_of_fit(photos, name, activation, FullFinetuning())
    assert all(math.isfinite(loss) for loss in losses)
    assert min(losses[1:]) < losses[0]
