"""Small networks of four families learn with every activation in the head."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.strategies import FullFinetuning, LinearProbe
from tltool.layers.activations import ACTIVATIONS
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

FAMILIES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]


class LossAtValidation(Callback):
    """Collect the validation loss, before training and after each epoch."""

    def __init__(self):
        self.losses = []

    def on_validation_end(self, trainer, pl_module):
        self.losses.append(float(trainer.callback_metrics["val/loss"]))


def fit(images, name, activation, strategy, surgery=()):
    torch.manual_seed(0)
    backbone = Backbone(name, weights="random", img_size=32, surgery=surgery)
    data = ImageFolderDataModule(
        images, data_config=backbone.data_config, batch_size=8, num_workers=0
    )
    head = partial(Head, hidden_features=[16], activation=activation)
    optimizer = partial(torch.optim.AdamW, lr=3e-3)
    task = ImageTask(backbone, head, num_classes=2, optimizer=optimizer, closed_form_start=False)
    losses = LossAtValidation()
    trainer = Trainer(
        max_epochs=6,
        accelerator="cpu",
        callbacks=[Finetuning(strategy), losses],
        enable_checkpointing=False,
        num_sanity_val_steps=-1,  # The whole validation set: the loss before training.
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    return task, trainer, losses.losses


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_probe_with_each_activation_learns(images, activation):
    _, _, losses = fit(images, "test_efficientnet", activation, LinearProbe())
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_each_activation_in_backbone_and_head_learns_and_is_reloaded(
    images, tmp_path, name, activation
):
    surgery = [] if activation == "maxout" else [{"swap_activations": activation}]
    task, trainer, losses = fit(images, name, activation, FullFinetuning(), surgery)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = ImageTask.load_from_checkpoint(tmp_path / "last.ckpt")
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(pixels), task.eval()(pixels), rtol=0, atol=0)
    assert all(math.isfinite(loss) for loss in losses)
    assert min(losses[1:]) < losses[0]
