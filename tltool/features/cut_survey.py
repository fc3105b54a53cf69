"""Survey of the cut: which networks have one, and how much of a training step it saves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tltool.features.activation_cut import ActivationCut, activations_in_front, features_behind
from tltool.features.cut_search import find_cut
from tltool.finetuning.freeze import set_trainable_
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.models.layer_groups import layer_groups


@dataclass(frozen=True)
class CutReport:
    """What came of the try to cut a network in front of its last layer groups.

    Attributes:
        name: The network.
        img_size: Height of the images.
        trains: The layer groups that train beside the head.
        boundary: The layer behind which it is cut; empty where it is not.
        reason: Why it is not cut; empty where it is.
        factor: See `compute_factor`; 1 where it is not cut.
        size: Bytes of the activations of an image in 16 bits.
    """

    name: str
    img_size: int
    trains: tuple[str, ...]
    boundary: str = ""
    reason: str = ""
    factor: float = 1.0
    size: int = 0


def report_cut(
    name: str, *, num_groups: int, img_sizes: Sequence[int | None] = (64, 112, 128, 224, None)
) -> CutReport:
    """Try to cut a network of random weights in front of its last layer groups.

    Args:
        name: A model of timm.
        num_groups: Number of groups that train; fewer where the network has no more.
        img_sizes: Heights of images, of which the first that it takes is used; ``None`` for its
            own.

    Example:
        >>> report = report_cut("test_resnet", num_groups=1)
        >>> report.trains, report.boundary, round(report.factor, 1)
        (('layer4',), 'model.layer3', 7.2)
    """
    task = nn.Module()
    backbone = task.backbone = smallest_backbone(name, img_sizes)
    task.head = Head(backbone.num_features, 2)
    groups = layer_groups(task)
    trained = list(groups)[max(1, len(groups) - 1 - num_groups) :]
    set_trainable_(task, groups, trained, batch_norm="eval")
    size = backbone.data_config["input_size"]
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    cut = find_cut(backbone, images)
    trains = tuple(group.removeprefix("backbone.") for group in trained if group != "head")
    if isinstance(cut, str):
        return CutReport(name, size[1], trains, reason=cut)
    factor = compute_factor(backbone, cut, images)
    return CutReport(name, size[1], trains, cut.boundary, "", factor, 2 * cut.size)


def compute_factor(backbone: Backbone, cut: ActivationCut, images: Tensor) -> float:
    """Return by what factor a cut lowers the multiplications of a training step.

    With images a step passes all layers, and goes back through those behind the first that trains;
    with activations the first part is left out. So it is ``(front + behind) / behind``, where
    ``behind`` counts the forward and the backward pass, as PyTorch's counter of operations does for
    convolutions, matrix products and attention. The head, and what is no such product, is not
    counted.

    Args:
        backbone: The network, frozen in front of the cut.
        cut: From `find_cut`.
        images: ``(B, C, H, W)``.

    Example:
        >>> backbone = Backbone("test_resnet", weights="random", img_size=64).eval()
        >>> _ = backbone.requires_grad_(False).model.layer4.requires_grad_(True)
        >>> images = torch.randn(2, 3, 64, 64)
        >>> round(compute_factor(backbone, find_cut(backbone, images), images), 1)
        7.2
    """
    with torch.no_grad():
        activations = activations_in_front(backbone, cut, images)
    whole = count_operations(lambda: torch.autograd.backward(backbone(images).sum()))
    behind = count_operations(
        lambda: torch.autograd.backward(features_behind(backbone, cut, activations).sum())
    )
    backbone.zero_grad(set_to_none=True)
    return whole / behind if behind else float("inf")


def count_operations(run: Callable[[], object]) -> int:
    """Return the number of operations in products of a computation."""
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()


def smallest_backbone(name: str, img_sizes: Sequence[int | None]) -> Backbone:
    """Return a network of random weights for the first of some sizes of images that it takes."""
    for img_size in img_sizes[:-1]:
        try:
            return Backbone(name, weights="random", img_size=img_size)
        except ValueError:  # It does not take images of this size.
            continue
    return Backbone(name, weights="random", img_size=img_sizes[-1])
