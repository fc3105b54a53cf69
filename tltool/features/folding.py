"""A copy of a frozen network with its batch norms folded, which does less work."""

import copy

import torch
from torch import Tensor, nn

from tltool.surgery.adapters import has_lora, merge_lora
from tltool.surgery.norm_folding import TOLERANCE, fold_where_possible_
from tltool.surgery.norm_kinds import batch_norms


@torch.inference_mode()
def fold_batch_norms(network: nn.Module, images: Tensor) -> nn.Module | None:
    """Return a copy of a frozen network whose batch norms are part of the layers in front.

    See `fold_norms`. EfficientNet-Lite0 makes 1.35 times the images a second on a CPU
    (`scripts/benchmark/README.md`). The copy must give the features of the network on a few images.

    Args:
        network: In evaluation mode; it is left as it is.
        images: ``(B, C, H, W)``.

    Returns:
        The copy; ``None`` where there is nothing to fold, the network is compiled, or the copy
        gives other features.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> fold_batch_norms(network, torch.randn(2, 3, 8, 8))
        Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
        )
    """
    norms = batch_norms(network)
    if not norms or any(module._compiled_call_impl is not None for module in network.modules()):
        return None
    folded = copy.deepcopy(network)
    if has_lora(folded):  # Their weight is the frozen one plus an update, and is replaced here.
        merge_lora(folded)
    if not fold_where_possible_(folded, batch_norms(folded), images).num_folded:
        return None
    features: Tensor = network(images)
    difference = (folded(images) - features).flatten(1).norm(dim=1)
    is_equal = bool((difference <= TOLERANCE * features.flatten(1).norm(dim=1)).all())
    return folded if is_equal else None
