"""Learning curve of a closed-form probe: what more images would bring."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tltool.diagnostics.advice.layer_probes import ProbeEstimate, estimate
from tltool.diagnostics.advice.subsample import draw_stratified
from tltool.models.ridge_probe import fit_ridge_probe

NUM_DRAWS = 5
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
#: No point of the curve has fewer images of a class on average.
LEAST_PER_CLASS = 2


@dataclass(frozen=True)
class LearningCurve:
    """The accuracy of a probe over the number of training images.

    Attributes:
        sizes: Numbers of training images, rising; the last is all of them.
        correct: How often the probe is right about each evaluation image, over the draws of so many
            training images, ``(len(sizes), M)``.
        draws: The accuracy of each draw, for each size.
    """

    sizes: list[int]
    correct: Tensor
    draws: list[list[float]]

    @property
    def accuracies(self) -> list[ProbeEstimate]:
        """The accuracy at each size; its error is that of the evaluation images and the draws.

        All training images are drawn once, so their last point knows the first error only.
        """
        pairs = zip(self.correct, self.draws, strict=True)
        return [_with_draws(estimate(correct), draws) for correct, draws in pairs]

    @property
    def slope(self) -> ProbeEstimate | None:
        """What the last doubling of the images brought, image by image; ``None`` for one size.

        Learning curves flatten, so the next doubling brings rather less.
        """
        if len(self.sizes) < 2:
            return None
        gain = estimate(self.correct[-1] - self.correct[-2])
        doublings = math.log2(self.sizes[-1] / self.sizes[-2])
        whole = _with_draws(gain, self.draws[-2])
        return ProbeEstimate(whole.mean / doublings, whole.standard_error / doublings)


def learning_curve(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], num_classes: int
) -> LearningCurve:
    """Fit a closed-form probe on all training images, a half, a quarter and an eighth of them.

    Smaller shares are drawn five times, the same share of each class.

    Args:
        train: Features ``(N, C)`` and labels ``(N,)`` of the images that train.
        val: Those of the images that validate.
        num_classes: Number of classes.

    Example:
        >>> labels = torch.tensor([0, 1] * 16)
        >>> features = labels[:, None] + 0.1 * torch.randn(32, 2)
        >>> learning_curve((features, labels), (features, labels), 2).sizes
        [4, 8, 16, 32]
    """
    generator = torch.Generator().manual_seed(0)
    sizes, rows, accuracies = [], [], []
    features, labels = train
    for share in SHARES:
        if share < 1 and share * len(labels) < LEAST_PER_CLASS * num_classes:
            continue
        correct = []
        for _ in range(NUM_DRAWS if share < 1 else 1):
            chosen = draw_stratified(labels, share, generator)
            probe = fit_ridge_probe(features[chosen], labels[chosen], num_classes)
            correct.append((probe.predict(val[0]) == val[1]).double())
        sizes.append(len(chosen))
        rows.append(torch.stack(correct).mean(dim=0))
        accuracies.append([hits.mean().item() for hits in correct])
    return LearningCurve(sizes, torch.stack(rows), accuracies)


def _with_draws(value: ProbeEstimate, draws: list[float]) -> ProbeEstimate:
    """Add the standard error of the draws' mean."""
    if len(draws) < 2:
        return value
    variance = torch.tensor(draws, dtype=torch.float64).var().item() / len(draws)
    return ProbeEstimate(value.mean, math.hypot(value.standard_error, math.sqrt(variance)))
