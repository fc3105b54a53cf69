"""Class-balanced sampling: which images an epoch draws, so that each class comes equally often."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Sampling = Literal["shuffled", "class_balanced"]
"""How an epoch draws training images, see `ImageDataModule`."""


def class_balanced_positions(labels: Sequence[int] | Tensor, generator: torch.Generator) -> Tensor:
    """Return the images that an epoch draws, as many as there are, from each class equally many.

    What Kang et al., 2020, call class-balanced sampling (https://arxiv.org/abs/1910.09217, section
    3), without the chance of independent draws: the images of a class are drawn in rounds, each in
    a new order, so that none comes a second time before all have come. Of a class with more images
    than its share another part is drawn in each epoch. Where the classes do not share the number
    of images equally, some, chosen at random, are drawn once more than the others.

    Args:
        labels: Label of each image, ``(N,)``.
        generator: Of the images and their order in each class.

    Returns:
        Positions of images, ``(N,)``, class by class.

    Example:
        >>> class_balanced_positions([0, 1, 1, 1, 1, 1], torch.Generator().manual_seed(0))
        tensor([0, 0, 0, 5, 3, 2])
    """
    found = torch.as_tensor(labels)
    counts = found.bincount()
    counts = counts[counts > 0]
    share, rest = divmod(len(found), len(counts))
    numbers = torch.full((len(counts),), share)
    numbers[torch.randperm(len(counts), generator=generator)[:rest]] += 1
    drawn = []
    for members, number in zip(
        torch.split(found.argsort(stable=True), counts.tolist()), numbers.tolist(), strict=True
    ):
        rounds = -(-number // len(members))
        orders = [torch.randperm(len(members), generator=generator) for _ in range(rounds)]
        drawn.append(members[torch.cat(orders)[:number]])
    return torch.cat(drawn)
