"""Problem that an experiment learns: features, labels, and the rows of each split."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tltool.comparison.cross_validation import SplitRows
from tltool.layers.fitted_norms import Standardize


@dataclass(frozen=True)
class Problem:
    """Features with labels, in splits.

    Args:
        name: What it is, for the page.
        features: ``(N, num_features)``.
        labels: Class of each row, ``(N,)``.
        split: Rows that train, that choose settings, and that report.

    Example:
        >>> rows = torch.arange(6)
        >>> problem = Problem("toy", torch.rand(6, 4), rows % 2, SplitRows(rows, rows, rows, (0,)))
        >>> problem.num_features, problem.num_classes, problem.chance
        (4, 2, 0.5)
    """

    name: str
    features: Tensor
    labels: Tensor
    split: SplitRows

    @property
    def num_features(self) -> int:
        """The number of features of a row."""
        return self.features.shape[1]

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return int(self.labels.max()) + 1

    @property
    def chance(self) -> float:
        """Accuracy of always saying the most frequent class, on the rows that report."""
        counts = self.test[1].bincount()
        return float(counts.max() / counts.sum())

    @property
    def guess_loss(self) -> float:
        """Least training loss of one answer for all rows: the entropy of the classes' frequencies.

        Example:
            >>> rows = torch.arange(4)
            >>> problem = Problem("a", torch.rand(4, 1), rows % 2, SplitRows(rows, rows, rows, ()))
            >>> round(problem.guess_loss, 4)
            0.6931
        """
        counts = self.labels[self.split.train].bincount().double()
        return float(torch.special.entr(counts / counts.sum()).sum())

    @property
    def train(self) -> tuple[Tensor, Tensor]:
        """Features and labels of the rows that train."""
        return self.features[self.split.train], self.labels[self.split.train]

    @property
    def test(self) -> tuple[Tensor, Tensor]:
        """Features and labels of the rows that report."""
        return self.features[self.split.test], self.labels[self.split.test]

    def standardized(self) -> "Problem":
        """Return it with mean 0 and standard deviation 1 of each feature on the training rows."""
        norm = Standardize(self.num_features).fit_(self.features[self.split.train])
        with torch.no_grad():
            return replace(self, features=norm(self.features))

    def with_features(self, features: Tensor) -> "Problem":
        """Return it with other features of the same rows."""
        return replace(self, features=features)

    def with_train(self, rows: Tensor) -> "Problem":
        """Return it with other training rows."""
        return replace(self, split=replace(self.split, train=rows))

    def without_val(self) -> "Problem":
        """Return it without rows that choose, for what is told by the training loss alone."""
        return replace(self, split=replace(self.split, val=self.split.val[:0]))

    def only_training(self, max_rows: int) -> "Problem":
        """Return it without rows that choose, and with so many training rows, drawn at random.

        Args:
            max_rows: How many rows train; fewer where there are fewer.
        """
        order = torch.randperm(len(self.split.train), generator=torch.Generator().manual_seed(0))
        return self.without_val().with_train(self.split.train[order[:max_rows]])
