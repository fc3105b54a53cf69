"""The last feature map of a backbone: the module that makes it, and where its channels are."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tltool._module_state import restored_modes
from tltool.models.backbone import Backbone


class FeatureMap(NamedTuple):
    """Where the last map of features comes from that knows of places in the image.

    Attributes:
        module: What makes it.
        arrange: Makes ``(B, C, H, W)`` of its output.
    """

    module: nn.Module
    arrange: Callable[[Tensor], Tensor]


def last_feature_map(backbone: Backbone) -> FeatureMap:
    """Return the last feature map of a backbone, as Grad-CAM reads it.

    Of a transformer of tokens it is what the last attention reads: behind it the class token, which
    the head reads, does not depend on the others any more.

    Args:
        backbone: The network.

    Raises:
        ValueError: If its layers say nothing of places, or their order is not known.

    Example:
        >>> backbone = Backbone("test_resnet", weights="random")
        >>> backbone.model.layer4 is last_feature_map(backbone).module
        True
    """
    model = backbone.model
    if all(hasattr(model, name) for name in ("patch_embed", "num_prefix_tokens", "blocks")):
        grid, last = getattr(model.patch_embed, "grid_size", None), model.blocks[-1]
        if grid and hasattr(last, "norm1"):
            return FeatureMap(last.norm1, lambda tokens: _grid_of(tokens, grid, model))
    module, output = _last_output(backbone)
    if output is None or output.ndim != 4:
        raise ValueError(
            f"Where {backbone.name} looks cannot be shown: the order of places in its last layers "
            "is not known. Overlays work for convolutional networks, ViT and Swin."
        )
    # NesT does not say that its channels are last. Others widen them behind the map: where no
    # dimension has the number of features they are in front.
    is_last = output.shape[1] != backbone.num_features == output.shape[3]
    if is_last or getattr(model, "output_fmt", "NCHW") == "NHWC":
        return FeatureMap(module, lambda features: features.permute(0, 3, 1, 2))
    return FeatureMap(module, lambda features: features)


def _grid_of(tokens: Tensor, grid: Sequence[int], model: Any) -> Tensor:
    height, width = grid
    num_prefix = tokens.shape[1] - height * width
    if num_prefix not in (0, model.num_prefix_tokens):  # CaiT adds its own behind these blocks.
        raise ValueError(
            f"The network has {tokens.shape[1]} tokens, which are no {height} x {width} places. "
            "Give images of the size that it was built for."
        )
    patches = tokens[:, num_prefix:].transpose(1, 2)  # (B, C, H * W)
    return patches.reshape(*patches.shape[:2], height, width)


@torch.no_grad()
def _last_output(backbone: Backbone) -> tuple[nn.Module, Tensor | None]:
    """Return the last module whose output has several places, and that output."""
    found: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and _has_places(output):
            found[:] = [(module, output)]

    handles = [module.register_forward_hook(note) for module in backbone.model.modules()]
    like = next(backbone.parameters(), torch.zeros(()))
    try:
        with restored_modes(backbone):
            backbone.eval()
            backbone(like.new_zeros(1, *backbone.data_config["input_size"]))
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else (backbone, None)


def _has_places(output: Tensor) -> bool:
    # Maps (B, C, H, W) and (B, H, W, C), or tokens (B, N, C).
    return (output.ndim == 4 and output.shape[2:].numel() > 1) or (
        output.ndim == 3 and output.shape[1] > 1
    )
