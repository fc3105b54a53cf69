"""Columns that a table of predictions gets from what the checkpoint knows of its limits."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tltool.evaluation.prediction_sets import prediction_sets
from tltool.inference.checkpoint_trust import Trust
from tltool.inference.prediction_table import UNKNOWN

SCORE, SET = "unknown_score", "prediction_set"
SEPARATOR = " | "

Cells = dict[str, list[str | float | bool]]


class LimitColumns:
    """Fill the columns ``is_unknown``, ``unknown_score`` and, if asked, ``prediction_set``.

    Args:
        trust: What the checkpoint knows.
        class_names: The classes.
        coverage: The share of images whose set holds their class; ``None`` for no sets.
        by_class: Promise the share for the images of each class.

    Raises:
        ValueError: If too few images set the thresholds for this coverage.
    """

    def __init__(
        self,
        trust: Trust,
        class_names: Sequence[str],
        *,
        coverage: float | None = None,
        by_class: bool = False,
    ) -> None:
        self.trust = trust
        self.class_names = class_names
        self.thresholds: Tensor | None = None
        if coverage is not None:
            number = len(class_names)
            self.thresholds = trust.scores.thresholds(coverage, number, by_class=by_class)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [UNKNOWN, SCORE, *([] if self.thresholds is None else [SET])]

    @property
    def always_in(self) -> list[str]:
        """The classes that are in every set, for too few images of them set a threshold."""
        if self.thresholds is None:
            return []
        marks = self.thresholds.isinf().tolist()
        return [name for name, mark in zip(self.class_names, marks, strict=True) if mark]

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the cells, as plain data."""
        thresholds = [] if self.thresholds is None else [str(each) for each in self.thresholds]
        known = (self.trust.threshold, float(self.trust.unknown.distance.means.sum()))
        return {"limits": [*map(str, known), *thresholds]}

    def cells(self, probabilities: Tensor, features: Tensor) -> Cells:
        """Return the cells of each column.

        Args:
            probabilities: ``(B, num_classes)``.
            features: What the head got, ``(B, D)``.
        """
        scores = self.trust.unknown.score(features, probabilities)
        marks = self.trust.is_unknown(scores).tolist()
        found: Cells = {
            UNKNOWN: marks,
            SCORE: scores.tolist(),
        }
        if self.thresholds is not None:
            found[SET] = [self._names(row) for row in self._ranked(probabilities)]
        return found

    def _ranked(self, probabilities: Tensor) -> list[list[int]]:
        """Return the classes of each set, the most probable first."""
        assert self.thresholds is not None  # noqa: S101  # see `cells`
        sets = prediction_sets(probabilities, self.thresholds)
        order = probabilities.argsort(dim=1, descending=True, stable=True)
        members = sets.gather(1, order)
        return [row[mark].tolist() for row, mark in zip(order, members, strict=True)]

    def _names(self, labels: list[int]) -> str:
        return SEPARATOR.join(self.class_names[label] for label in labels)
