"""The backbone that a run began with, made again."""

import torch

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.training.image_task import ImageTask


def start_backbone(task: ImageTask, *, seed: int) -> Backbone:
    """Make the backbone of a checkpoint as it was before training.

    Args:
        task: That of the checkpoint.
        seed: Of the run: random weights are drawn by it again.

    Raises:
        OSError: If its weights are not available any more.
        ValueError: If they do not fit any more.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = rebuild(task.task_config["backbone"])
    assert isinstance(backbone, Backbone)  # noqa: S101  # the description was written by one
    return backbone
