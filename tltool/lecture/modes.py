"""Training and evaluation mode of one network."""

import copy

import torch
from torch import Tensor, nn


@torch.no_grad()
def mode_difference(head: nn.Module, features: Tensor, batch_size: int) -> float:
    """Return how far the logits of the same rows are apart in training and evaluation mode.

    Args:
        head: It is left as it is.
        features: ``(N, num_features)``.
        batch_size: Rows that a batch in training mode holds; all of them if there are fewer.

    Returns:
        The root mean square of the differences, relative to the standard deviation of the logits in
        evaluation.
    """
    head = copy.deepcopy(head)  # Training mode moves the running statistics.
    # Rows may lie in the order of their classes.
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    size = min(batch_size, len(order))
    batches = torch.split(features[order[: len(order) // size * size]], size)
    evaluated = torch.cat([head.eval()(rows) for rows in batches])
    trained = torch.cat([head.train()(rows) for rows in batches])
    return float((trained - evaluated).square().mean().sqrt() / evaluated.std().clamp_min(1e-12))
