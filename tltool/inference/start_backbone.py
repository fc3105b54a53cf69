"""The backbone that a run began with, made again, or why it cannot be."""

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
        ValueError: If they are others now, see `changed_weights`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = rebuild(task.task_config["backbone"])
    assert isinstance(backbone, Backbone)  # noqa: S101  # the description was written by one
    if changed := changed_weights(backbone, task.backbone.loaded_hash):
        raise ValueError(changed)
    return backbone


def changed_weights(backbone: Backbone, loaded_hash: str | None) -> str:
    """Return what to say where a backbone has loaded other weights than a run began with.

    Args:
        backbone: As it was loaded.
        loaded_hash: See `Backbone.loaded_hash`, of the run; ``None`` where it is not known.

    Returns:
        An empty text where they are the same.
    """
    if loaded_hash in (None, backbone.loaded_hash):
        return ""
    return (
        f"the weights {backbone.weights!r} are not those that the run began with. Put the original "
        "ones back to compare it with the probe."
    )
