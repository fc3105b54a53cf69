"""The start of an edited backbone: what its edits take from training images, once."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.files.decoding_threads import map_in_threads
from tltool.models.backbone import Backbone
from tltool.surgery.calibrated_module import Calibrated

NUM_IMAGES = 128
"""Images that edits are calibrated on, where they are of `_SIZE` or smaller."""
_SIZE = 224
_FEWEST = 16


def calibrate_backbone_(backbone: Backbone, data: Any) -> Backbone:
    """Set what the edits of a backbone take from images, on training images of a datamodule.

    One that needs none is left as it is. See `Backbone.calibrate_` and `calibration_images`.

    Args:
        backbone: On the device that computes.
        data: The datamodule.

    Raises:
        ValueError: If ``data`` is needed and is no datamodule of tltool, or an edit refuses.
    """
    if not backbone.needs_calibration:
        return backbone
    if not isinstance(data, ImageDataModule):
        raise ValueError(
            "An edit of the backbone takes its values from images, and there is no datamodule of "
            "tltool. Call task.backbone.calibrate_(images) first, with about 128 training images."
        )
    return backbone.calibrate_(calibration_images(data))


def start_backbone_(task: LightningModule, data: Any) -> LightningModule:
    """Calibrate the edits of a task's backbone before it trains, the same on all ranks.

    The first rank does it, and the others get its values. A run that is resumed has them from its
    checkpoint.

    Args:
        task: A task with a ``backbone``, whose weights are whole on each rank.
        data: The datamodule with the training images.

    Returns:
        ``task``.

    Raises:
        ValueError: See `calibrate_backbone_`.
    """
    trainer, backbone = getattr(task, "_trainer", None), task.get_submodule("backbone")
    modules = [module for module in backbone.modules() if isinstance(module, Calibrated)]
    if not modules or not isinstance(backbone, Backbone):
        return task
    if trainer is None:
        calibrate_backbone_(backbone, data)
        return task
    # The first rank may have done it for a measurement.
    if not trainer.strategy.reduce_boolean_decision(backbone.needs_calibration, all=False):
        return task
    if trainer.is_global_zero:
        calibrate_backbone_(backbone, data)
    states = [{name: value.cpu() for name, value in m.state_dict().items()} for m in modules]
    states = trainer.strategy.broadcast(states)
    for module, state in zip(modules, states, strict=True):
        module.load_state_dict(state)
    return task


def calibration_images(data: ImageDataModule) -> Tensor:
    """Return training images for calibration in one batch, ``(B, C, H, W)``.

    They are as in evaluation, not augmented, and drawn at random: in a folder's order the first
    ones are of one class. The draw has a seed of its own, so that all commands and runs on the same
    images calibrate alike. Of large images there are fewer, as all of them pass at once.

    Args:
        data: The datamodule.
    """
    dataset = data.dataset("train")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    _, height, width = data.resolved_data_config()["input_size"]
    num_images = NUM_IMAGES * _SIZE**2 // max(height * width, _SIZE**2)
    chosen = order[: max(num_images, _FEWEST)]
    what = "Reading images that edits are calibrated on"
    images = map_in_threads(lambda index: dataset[index]["image"], chosen, description=what)
    return torch.stack(list(images))
