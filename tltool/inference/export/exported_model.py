"""The network of a checkpoint as one module from prepared images to logits."""

import copy

from torch import Tensor, nn

from tltool.training.image_task import ImageTask


class ExportedModel(nn.Module):
    """Backbone and head, as a plain module.

    Args:
        task: The task; a copy of its network is taken.

    Shape:
        - Input: ``(B, in_chans, H, W)``, preprocessed
        - Output: ``(B, num_outputs)``, logits
    """

    def __init__(self, task: ImageTask) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(task.backbone)
        self.head = copy.deepcopy(task.head)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


def exported_model(task: ImageTask) -> ExportedModel:
    """Return the network of a task as one module."""
    return ExportedModel(task)
