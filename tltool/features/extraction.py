"""Feature extraction: a dataset through a frozen backbone, its output or that of every layer."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tltool._lookup import lookup
from tltool._module_state import evaluation_mode
from tltool._progress import with_progress
from tltool.features.activation_cut import LayersBehind
from tltool.features.folding import fold_batch_norms
from tltool.features.frozen_front import FrozenFront
from tltool.models.backbone import WHOLE, Backbone

log = logging.getLogger(__name__)

#: The type that a pass computes in, by the precision of Lightning's Trainer. ``None`` for the type
#: of the weights.
AUTOCAST: dict[str, torch.dtype | None] = {
    **dict.fromkeys(("32-true", "64-true", "bf16-true", "16-true")),
    "bf16-mixed": torch.bfloat16,
    "16-mixed": torch.float16,
}


@contextmanager
def frozen_pass(
    backbone: nn.Module, precision: str = "32-true"
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give a function from images to features on the CPU, of a backbone in evaluation mode.

    On a CPU, in 32-true, batch norms are folded where that keeps the features; see
    `fold_batch_norms`. Elsewhere that was not measured.

    Args:
        backbone: The network; the mode of each module is left as it was.
        precision: As in Lightning's Trainer, with ``-mixed`` or ``-true``.

    Raises:
        ValueError: If the precision is unknown.

    Example:
        >>> with frozen_pass(Backbone("test_resnet", weights="random"), "bf16-mixed") as features:
        ...     features(torch.randn(2, 3, 32, 32)).dtype
        torch.bfloat16
    """
    autocast = lookup(AUTOCAST, precision, kind="precision")
    weight = next(backbone.parameters(), torch.empty(0))
    network: nn.Module | None = None
    may_fold = weight.device.type == "cpu" and precision == "32-true"

    @torch.inference_mode()
    def features(images: Tensor) -> Tensor:
        nonlocal network
        images = images.to(weight.device, weight.dtype)
        if network is None:
            network = (_folded(backbone, images[:2]) if may_fold else None) or backbone
        with torch.autocast(weight.device.type, autocast, enabled=autocast is not None):
            output: Tensor = network(images)
        return output.cpu()

    with evaluation_mode(backbone):
        yield features


def _folded(backbone: nn.Module, images: Tensor) -> nn.Module | None:
    if isinstance(backbone, FrozenFront):
        return backbone.folded(images)
    # Behind a cut it was not tried: layers in front, which do not run there, may be merged with it.
    return None if isinstance(backbone, LayersBehind) else fold_batch_norms(backbone, images)


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
    features, labels = [], []
    with frozen_pass(backbone) as features_of:
        for batch in with_progress(batches, description, total=total):
            features.append(features_of(batch["images"]).float())
            labels.append(batch["labels"].cpu())
    return torch.cat(features), torch.cat(labels)


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
    message = "timm's layers of %s do not end in its features: only the whole network is probed."
    log.warning(message, backbone.name)
    return False
