"""Folding of batch norms into the convolutions in front: a frozen network that does less work."""

import copy
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tltool.surgery.adapters import has_lora, merge_lora

TOLERANCE = 1e-4
"""Length of the difference to the features of the network itself, as a share of theirs. Rounding
alone makes 1e-6 to 1e-5."""


@torch.inference_mode()
def fold_batch_norms(network: nn.Module, images: Tensor) -> nn.Module | None:
    """Return a copy of a frozen network whose batch norms are part of the convolutions.

    In evaluation mode a batch norm multiplies and shifts each channel by constants, as the
    convolution in front can do itself (Markuš, 2018, https://nenadmarkus.com/p/fusing-batchnorm-and-conv/).
    EfficientNet-Lite0 makes 1.4 times the images a second on a CPU
    (`scripts/benchmark/frozen_pass.py`). Which convolution is in front is seen on a few images, and
    the copy must give their features.

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
    modules = list(network.modules())
    is_compiled = any(module._compiled_call_impl is not None for module in modules)
    if is_compiled or not any(isinstance(module, nn.BatchNorm2d) for module in modules):
        return None
    folded = copy.deepcopy(network)
    if has_lora(folded):  # Their weight is the frozen one plus an update, and is replaced here.
        merge_lora(folded)
    pairs = _find_pairs(folded, images)
    if not pairs:
        return None
    names = {module: name for name, module in folded.named_modules()}
    for norm, conv in pairs.items():
        fused = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = fused.weight, fused.bias
        # timm's batch norms hold the activation behind them.
        folded.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))
    features: Tensor = network(images)
    difference = (folded(images) - features).flatten(1).norm(dim=1)
    is_equal = bool((difference <= TOLERANCE * features.flatten(1).norm(dim=1)).all())
    return folded if is_equal else None


def _find_pairs(network: nn.Module, images: Tensor) -> dict[nn.BatchNorm2d, nn.Conv2d]:
    """Return each batch norm with the convolution whose output it is given.

    Modules that run several times, such as shared ones, are left out.
    """
    made_by: dict[int, nn.Conv2d] = {}
    runs: Counter[nn.Module] = Counter()
    outputs: list[Tensor] = []  # Kept, so that no two have one id.
    pairs: dict[nn.BatchNorm2d, nn.Conv2d] = {}

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        runs[module] += 1
        conv = made_by.get(id(inputs[0]))
        if isinstance(module, nn.Conv2d):
            made_by[id(output)] = module
            outputs.append(output)
        elif conv is not None and isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            pairs[module] = conv

    layers = (m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d))
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {norm: conv for norm, conv in pairs.items() if runs[norm] == runs[conv] == 1}
