"""Label errors: images whose label all others contradict, found on frozen features."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tltool.evaluation.finite_features import check_finite_features
from tltool.evaluation.left_out_probe import LeftOutProbe

MOST_OF_LABEL = 0.01
"""A label that gets a lower probability is suspicious. Chosen, with `CLEAR`, on other images of
Fashion-MNIST and on the kinds of solar cells, by labels that were flipped on purpose; see
``scripts/benchmark/trust.py`` for how it does elsewhere."""
CLEAR = 0.5
"""A label is not learned from where another class is more probable by so much."""

WEAK = 0.8
"""Accuracy of the probe below which its word counts little."""


class LabelErrors(NamedTuple):
    """Images whose labels are suspicious, the most suspicious first.

    Attributes:
        rows: Their numbers, ``(S,)``.
        suggested: The class that the others say, ``(S,)``.
        of_label: The probability of the label that they have, ``(S,)``.
        of_suggested: That of the suggested class, ``(S,)``.
        accuracy: How often the left-out probe says the label, over all images: below it, its word
            counts little.
        num_untaught: Images that nothing can be said of: no other group has their class.
    """

    rows: Tensor
    suggested: Tensor
    of_label: Tensor
    of_suggested: Tensor
    accuracy: float
    num_untaught: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self, num_images: int) -> str:
        """Return what was found, in words.

        Example:
            >>> none = torch.zeros(0)
            >>> print(LabelErrors(none, none, none, none, 0.95).describe(200))
            0 of 200 are contradicted by all other images; a probe that left each out is right on
            95.0 %
        """
        untaught = f"; {self.num_untaught:,} are the only ones of their class, and not judged"
        weak = "" if self.accuracy >= WEAK else ", little: look at each, many will be right"
        return (
            f"{len(self):,} of {num_images:,} are contradicted by all other images; a probe that "
            f"left each out is right on {100 * self.accuracy:.1f} %{weak}"
            + untaught
            * bool(self.num_untaught)
        )


def find_label_errors(
    features: Tensor, labels: Tensor, num_classes: int, groups: Tensor | None = None
) -> LabelErrors:
    """Find images whose label all other images contradict.

    Confident learning (Northcutt et al., 2021, https://arxiv.org/abs/1911.00068): a classifier that
    has not seen an image says how probable its label is, and wrong labels do not teach it. Here it
    is a probe in closed form, that leaves out each image in turn. What it contradicts clearly it
    then learns from as of the other class, so that one error does not hide the next.

    Args:
        features: Of a network that was not trained on these labels, ``(N, D)``.
        labels: ``(N,)``.
        num_classes: Number of classes.
        groups: Images of one group, such as copies, do not vouch for each other, ``(N,)``.

    Raises:
        ValueError: If a feature is not finite.

    Example:
        >>> features = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
        >>> features[30:, 0] += 20
        >>> labels = torch.tensor([0] * 30 + [1] * 30)
        >>> labels[7] = 1
        >>> found = find_label_errors(features, labels, 2)
        >>> found.rows, found.suggested
        (tensor([7]), tensor([0]))
    """
    check_finite_features(features)
    probe = LeftOutProbe(features, groups)
    return judge_labels(probe, labels, num_classes)


def judge_labels(probe: LeftOutProbe, labels: Tensor, num_classes: int) -> LabelErrors:
    """Find label errors with a probe that is there, see `find_label_errors`."""
    first = probe.probabilities(functional.one_hot(labels, num_classes))
    of_label, other, best = _of_label(first, labels)
    is_taught = probe.knows(labels)
    learned = torch.where(is_taught & (other - of_label > CLEAR), best, labels)
    of_label, other, best = _of_label(
        probe.probabilities(functional.one_hot(learned, num_classes)), labels
    )
    is_right = (first.argmax(dim=1) == labels)[is_taught]
    accuracy = float(is_right.double().mean()) if len(is_right) else 0.0
    rows = (is_taught & (of_label <= MOST_OF_LABEL)).nonzero()[:, 0]
    rows = rows[of_label[rows].argsort(stable=True)]
    return LabelErrors(
        rows, best[rows], of_label[rows], other[rows], accuracy, len(labels) - len(is_right)
    )


def _of_label(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the probability of each label, that of the best other class, and which it is."""
    of_label = probabilities.gather(1, labels[:, None])[:, 0]
    other, best = probabilities.scatter(1, labels[:, None], -1.0).max(dim=1)
    return of_label, other, best
