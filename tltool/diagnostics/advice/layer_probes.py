"""Layer probes: a closed-form probe on each layer of a frozen backbone, and its accuracy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tltool.models.ridge_probe import fit_ridge_probe


@dataclass(frozen=True)
class ProbeEstimate:
    """A mean and its standard error.

    Example:
        >>> print(ProbeEstimate(0.75, 0.25 / 3))
        .750 +- .083
    """

    mean: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} +- {self.standard_error:.3f}".replace("0.", ".")

    @property
    def is_positive(self) -> bool:
        """Whether the mean is above zero by more than two standard errors."""
        return self.mean > 2 * self.standard_error


def estimate(values: Tensor) -> ProbeEstimate:
    """Return the mean of one value for each image ``(N,)``, with its standard error.

    For two classifiers give the difference image by image: most images are right or wrong with
    both, and the error of a paired difference is smaller than that of two accuracies.

    What never happened on N images may still happen on up to 3/N of them (Hanley & Lippman-Hand,
    1983, https://doi.org/10.1001/jama.1983.03330370053031), so equal values have an error too.

    Example:
        >>> import torch
        >>> estimate(torch.tensor([1.0, 1.0, 0.0, 1.0]))
        ProbeEstimate(mean=0.75, standard_error=0.25)
        >>> estimate(torch.ones(50))
        ProbeEstimate(mean=1.0, standard_error=0.03)
    """
    mean, number = values.double().mean().item(), len(values)
    if number < 2 or bool((values == values[0]).all()):
        return ProbeEstimate(mean, 1.5 / number)  # Two of them are 3/N.
    return ProbeEstimate(mean, values.double().std().item() / math.sqrt(number))


@dataclass(frozen=True)
class LayerProbes:
    """The accuracy of a probe on each layer.

    Attributes:
        correct: By layer from the input on, whether the probe is right about each evaluation image,
            ``(N,)``. The last one is the whole network.
    """

    correct: Mapping[str, Tensor]

    @property
    def accuracies(self) -> dict[str, ProbeEstimate]:
        """The accuracy on each layer, from the input on."""
        return {layer: estimate(correct) for layer, correct in self.correct.items()}

    @property
    def last(self) -> str:
        """The name of the whole network."""
        return list(self.correct)[-1]

    @property
    def best(self) -> str:
        """The layer with the highest accuracy, of equal ones the last."""
        return max(reversed(list(self.correct)), key=lambda layer: float(self.correct[layer].sum()))

    @property
    def gap(self) -> ProbeEstimate:
        """By how much the best layer is better than the whole network, image by image.

        The best of several layers is a little better by chance alone.
        """
        return self.lead(self.best)

    def lead(self, layer: str) -> ProbeEstimate:
        """By how much a layer is better than the whole network, image by image."""
        return estimate(self.correct[layer].double() - self.correct[self.last].double())


def probe_layers(
    train: tuple[Mapping[str, Tensor], Tensor],
    val: tuple[Mapping[str, Tensor], Tensor],
    num_classes: int,
) -> LayerProbes:
    """Fit a closed-form probe on each layer's training features, and try it on others.

    Features get more and more specific to the pretraining from layer to layer (Yosinski et al.,
    2014, https://arxiv.org/abs/1411.1792); how well a linear probe does at each depth shows it
    (Alain & Bengio, 2016, https://arxiv.org/abs/1610.01644).

    Args:
        train: Features ``(N, C)`` of the images that train by layer, from the input on and last
            the whole network, and labels ``(N,)``.
        val: Those of the images that validate.
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 1] * 8)
        >>> noise, signal = torch.randn(16, 4), labels[:, None] + 0.1 * torch.randn(16, 4)
        >>> layers = {"layer1": signal, "whole network": noise}
        >>> probe_layers((layers, labels), (layers, labels), 2).best
        'layer1'
    """
    correct = {}
    for layer, features in train[0].items():
        probe = fit_ridge_probe(features, train[1], num_classes)
        correct[layer] = probe.predict(val[0][layer]) == val[1]
    return LayerProbes(correct)
