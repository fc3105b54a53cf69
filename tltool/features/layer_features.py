"""Features of every layer: a dataset through a frozen backbone, once."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tltool._module_state import evaluation_mode
from tltool._progress import with_progress
from tltool.models.backbone import WHOLE, Backbone

log = logging.getLogger(__name__)


@torch.inference_mode()
def extract_layer_features(
    backbone: Backbone,
    batches: Iterable[Mapping[str, Any]],
    *,
    description: str,
    total: int | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Pass every batch through a backbone once, in evaluation mode, and keep each layer's features.

    Args:
        backbone: The network; the mode of each module is left as it was.
        batches: Batches of ``images`` ``(B, C, H, W)`` and ``labels`` ``(B,)``.
        description: What the progress bar says.
        total: Number of batches, for the progress bar.

    Returns:
        Features ``(N, C)`` by layer as in `Backbone.features_of_layers`, and labels ``(N,)``, on
        the CPU, in the order of the batches.

    Example:
        >>> batch = {"images": torch.randn(2, 3, 32, 32), "labels": torch.tensor([0, 1])}
        >>> features, labels = extract_layer_features(
        ...     Backbone("test_resnet", weights="random"), [batch], description="two images"
        ... )
        >>> features["layer1"].shape
        torch.Size([2, 32])
    """
    device = next(backbone.parameters(), torch.empty(0)).device
    features: dict[str, list[Tensor]] = defaultdict(list)
    labels: list[Tensor] = []
    is_sound = True
    with evaluation_mode(backbone):
        for batch in with_progress(batches, description, total=total):
            images = batch["images"].to(device)
            if not labels:
                is_sound = _is_sound(backbone, images)
            outputs = backbone.features_of_layers(images) if is_sound else {WHOLE: backbone(images)}
            for layer, output in outputs.items():
                features[layer].append(output.float().cpu())
            labels.append(batch["labels"].cpu())
    return {layer: torch.cat(rows) for layer, rows in features.items()}, torch.cat(labels)


def _is_sound(backbone: Backbone, images: Tensor) -> bool:
    """Return whether the way over the layers ends where the network does.

    timm computes the outputs of layers in another function than `forward`.
    """
    expected = backbone(images)
    actual = backbone.features_of_layers(images)[WHOLE]
    if actual.shape == expected.shape and torch.allclose(actual, expected, rtol=1e-3, atol=1e-4):
        return True
    log.warning(
        "timm's layers of %s do not end in its features: only the whole network is probed.",
        backbone.name,
    )
    return False
