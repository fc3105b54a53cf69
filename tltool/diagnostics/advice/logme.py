"""LogME: how well a linear model on frozen features explains the labels, without training."""

import math

import torch
from torch import Tensor
from torch.nn import functional

MAX_STEPS = 1000  # ten are usual
TOLERANCE = 1e-6  # of the ratio of the two precisions, relative
# Where the labels are explained wholly or not at all, a precision is zero or infinite; it is held
# off, as in the paper's code.
EPSILON = 1e-10


def logme(features: Tensor, labels: Tensor, num_classes: int) -> float:
    """Return the logarithm of the maximum evidence for each label and class; larger is better.

    You et al., 2021, https://arxiv.org/abs/2102.11005. For each class a Gaussian prior is put on
    the weights of a linear regression from the features to "is this class" (1 or 0), with Gaussian
    noise. The precisions of both, alpha and beta, are those that make the labels most likely
    (MacKay's fixed point in the singular basis of the features, You et al., 2022,
    https://arxiv.org/abs/2110.10545). So nothing is fitted on validation images, and features that
    merely have many dimensions are not rewarded. Compare only numbers from the same images.

    The determinant runs over all D features, as in the first paper; the code of the second one
    leaves out those beyond the rank, which matters where there are fewer images than features.

    Args:
        features: Frozen features, ``(N, D)``, as they are: neither centered nor scaled.
        labels: ``(N,)``.
        num_classes: Number of classes.

    Raises:
        ValueError: If the images have one class only, or features are not finite.

    Example:
        >>> labels = torch.tensor([0, 1]).repeat(20)
        >>> useful = torch.randn(40, 8) + 3 * labels[:, None]
        >>> logme(useful, labels, 2) > logme(torch.randn(40, 8), labels, 2)
        True
    """
    if len(set(labels.tolist())) < 2:
        raise ValueError("LogME compares classes, got one class. Give images of at least two.")
    if not torch.isfinite(features).all():
        raise ValueError("The features are not finite. Check the weights that they come from.")
    x = features.double()
    y = functional.one_hot(labels, num_classes).double()  # (N, num_classes)
    num_images, num_features = x.shape
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    energy = s.square()[:, None]  # (R, 1), R = min(N, D)
    explained = (u.T @ y).square()  # (R, num_classes)
    unexplained = (y.square().sum(dim=0) - explained.sum(dim=0)).clamp_min(0)

    ratio = torch.ones(num_classes, dtype=torch.float64)  # alpha / beta
    for _ in range(MAX_STEPS):
        # The expected number of weights that the labels determine.
        gamma = (energy / (energy + ratio)).sum(dim=0)
        weights = (energy * explained / (energy + ratio).square()).sum(dim=0)
        residual = (explained * (ratio / (energy + ratio)).square()).sum(dim=0) + unexplained
        alpha = (gamma / (weights + EPSILON)).clamp_min(EPSILON)
        beta = ((num_images - gamma) / (residual + EPSILON)).clamp_min(EPSILON)
        previous, ratio = ratio, alpha / beta
        if torch.allclose(ratio, previous, rtol=TOLERANCE, atol=0):
            break

    log_determinant = (alpha + beta * energy).log().sum(dim=0)
    log_determinant += (num_features - len(s)) * alpha.log()
    evidence = (
        num_features * alpha.log()
        + num_images * (beta.log() - math.log(2 * math.pi))
        - log_determinant
        - beta * residual
        - alpha * weights
    ) / 2
    return float(evidence.mean()) / num_images
