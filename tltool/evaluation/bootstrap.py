"""Bootstrap interval of a number that is no mean over images, such as a macro F1."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

RESAMPLES = 400


def bootstrap_interval(
    statistic: Callable[[Tensor], float], num_images: int, groups: Sequence[int] | None = None
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval over resampled images (Efron & Tibshirani, 1993).

    ``None`` where resamples do not differ, as of a single group, or where all images are right:
    they tell nothing of other images then.

    Args:
        statistic: The number for images by their indices, which may repeat.
        num_images: How many images there are.
        groups: The group of each image: where images belong together, groups are drawn.

    Example:
        >>> right = torch.arange(100) < 80
        >>> low, high = bootstrap_interval(lambda rows: float(right[rows].float().mean()), 100)
        >>> 0.70 < low < 0.76, 0.84 < high < 0.90
        (True, True)
    """
    generator = torch.Generator().manual_seed(0)
    members = [torch.tensor([index]) for index in range(num_images)]
    if groups is not None:
        numbers = torch.tensor(list(groups))
        members = [(numbers == group).nonzero()[:, 0] for group in sorted(set(groups))]
    found = []
    for _ in range(RESAMPLES):
        drawn = torch.randint(len(members), (len(members),), generator=generator).tolist()
        rows = torch.tensor(drawn) if groups is None else torch.cat([members[i] for i in drawn])
        found.append(statistic(rows))
    low, high = torch.tensor(found).quantile(torch.tensor([0.025, 0.975])).tolist()
    return (low, high) if low != high else None
