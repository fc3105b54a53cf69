"""A dataset through a frozen backbone, once and in order."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from tltool.models.backbone import Backbone


@torch.inference_mode()
def extract_features(
    backbone: Backbone,
    batches: Iterable[Mapping[str, Any]],
    *,
    description: str,
    total: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Pass every batch through a backbone in evaluation mode.

    Args:
        backbone: The network; its mode is left as it was.
        batches: Batches of ``images`` ``(B, C, H, W)`` and ``labels`` ``(B,)``.
        description: What the progress bar says.
        total: Number of batches, for the progress bar.

    Returns:
        Features ``(N, num_features)`` and labels ``(N,)``, on the CPU, in the order of the batches.

    Example:
        >>> batch = {"images": torch.randn(2, 3, 32, 32), "labels": torch.tensor([0, 1])}
        >>> features, labels = extract_features(
        ...     Backbone("test_resnet", weights="random"), [batch], description="two images"
        ... )
        >>> features.shape
        torch.Size([2, 96])
    """
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    features, labels = [], []
    for batch in track(
        batches, description=description, total=total, transient=True, console=Console(stderr=True)
    ):
        features.append(backbone(batch["images"].to(device)).float().cpu())
        labels.append(batch["labels"].cpu())
    backbone.train(was_training)
    return torch.cat(features), torch.cat(labels)
