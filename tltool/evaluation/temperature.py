"""Temperature scaling: one number that divides logits, so that confidence agrees with accuracy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from tltool.evaluation.calibration import calibration_error, reliability_bins
from tltool.evaluation.paired_differences import estimate_mean

NUM_FOLDS = 5
LEAST_IMAGES = 100
"""Of fewer images a temperature is mostly luck: two mistakes more or less double it."""

_BOUNDS = (0.05, 20.0)


class TemperatureFit(NamedTuple):
    """A temperature, and what it does to images that did not fit it.

    Attributes:
        temperature: Divides the logits; 1 changes nothing.
        proposed: The temperature with the least loss on all images. It is not taken where it does
            not lower the loss of images that did not fit it by more than a standard error.
        num_images: Number of images that fitted it.
        error_before: Their expected calibration error at temperature 1.
        error_after: The same with the proposed temperature, each image by that of the other folds.
    """

    temperature: float
    proposed: float
    num_images: int
    error_before: float
    error_after: float


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature at which the cross-entropy of some images is least.

    Guo et al., 2017, https://arxiv.org/abs/1706.04599, section 4.2. Classes and their order stay.
    The loss has one minimum, which a search on a line finds. Where no image is wrong there is none:
    the answer is 1.

    Args:
        logits: ``(N, num_classes)``.
        labels: ``(N,)``.

    Example:
        >>> logits = torch.tensor([[8.0, 0.0], [8.0, 0.0], [8.0, 0.0], [8.0, 0.0]])
        >>> fitted = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
        >>> (logits / fitted).softmax(dim=1)[0, 0].item()  # as often as it is right
        0.75...
    """
    if bool((logits.argmax(dim=1) == labels).all()):
        return 1.0

    def loss(log_temperature: float) -> float:
        return _loss(logits / math.exp(log_temperature), labels)

    bounds = tuple(map(math.log, _BOUNDS))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))


def cross_fitted_probabilities(
    logits: Tensor, labels: Tensor, groups: Sequence[int] | None = None
) -> Tensor:
    """Return the probabilities of each image at the temperature that images of other folds fit.

    Args:
        logits: ``(N, num_classes)``.
        labels: ``(N,)``.
        groups: The group of each image, all of which is in one fold.
    """
    numbers = torch.arange(len(labels)) if groups is None else torch.tensor(groups)
    # At random, for images may come in an order that repeats, such as one of each class.
    shuffled = torch.randperm(int(numbers.max()) + 1, generator=torch.Generator().manual_seed(0))
    folds = shuffled[numbers] % NUM_FOLDS
    found = torch.empty_like(logits)
    for fold in range(NUM_FOLDS):
        others = folds != fold
        temperature = fit_temperature(logits[others], labels[others])
        found[~others] = (logits[~others] / temperature).softmax(dim=1)
    return found


def choose_temperature(
    logits: Tensor, labels: Tensor, groups: Sequence[int] | None = None
) -> TemperatureFit:
    """Fit a temperature, and take it if it lowers the loss of images that did not fit it.

    By more than a standard error: of few images a temperature can be far off, and make it worse.

    Args:
        logits: ``(N, num_classes)``, of images that are not those that report.
        labels: ``(N,)``.
        groups: See `cross_fitted_probabilities`.

    Raises:
        ValueError: If there are fewer than `LEAST_IMAGES` images.
    """
    if len(labels) < LEAST_IMAGES:
        raise ValueError(
            f"A temperature needs at least {LEAST_IMAGES} images, got {len(labels)}. Without one, "
            "probabilities stay as the network gives them."
        )
    logits = logits.float()
    proposed = fit_temperature(logits, labels)
    before, after = logits.softmax(dim=1), cross_fitted_probabilities(logits, labels, groups)
    gain = estimate_mean((_losses(before, labels) - _losses(after, labels))[None], groups)
    is_better = gain.mean > gain.standard_error
    errors = (_calibration_error(each, labels) for each in (before, after))
    return TemperatureFit(proposed if is_better else 1.0, proposed, len(labels), *errors)


def rescale(probabilities: Tensor, temperature: float) -> Tensor:
    """Return probabilities ``(N, num_classes)`` as they are with logits divided by a temperature.

    Example:
        >>> rescale(torch.tensor([[0.9, 0.1]]), 1e6)
        tensor([[0.5000, 0.5000]])
    """
    tiny = torch.finfo(probabilities.dtype).tiny
    return (probabilities.clamp_min(tiny).log() / temperature).softmax(dim=1)


def _loss(logits: Tensor, labels: Tensor) -> float:
    return functional.cross_entropy(logits, labels).item()


def _losses(probabilities: Tensor, labels: Tensor) -> Tensor:
    tiny = torch.finfo(probabilities.dtype).tiny
    return functional.nll_loss(probabilities.clamp_min(tiny).log(), labels, reduction="none")


def _calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    confidence, predicted = probabilities.max(dim=1)
    return calibration_error(reliability_bins(confidence, predicted == labels))
