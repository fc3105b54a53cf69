"""Scores that runs are compared by: name, direction, and digits."""

from typing import NamedTuple

from tltool._objective import Objective


class Score(NamedTuple):
    """A number about predictions that is a mean over images, or nearly one.

    Attributes:
        name: As it is printed.
        smaller_is_better: Whether it is an error.
        digits: How it is printed.
    """

    name: str
    smaller_is_better: bool = False
    digits: str = ".3f"

    @property
    def title(self) -> str:
        """The name as a sentence begins."""
        return self.name.capitalize() if self.name.islower() else self.name

    def words(self, value: float, sign: str = "") -> str:
        """Return a value, or with ``sign="+"`` a difference of two, in words.

        Example:
            >>> ACCURACY.words(0.9), MAE.words(1234.5678), MAE.words(-0.00012346, "+")
            ('0.900', '1235', '-0.0001235')
        """
        return f"{value:{sign}{self.digits}}"


ACCURACY = Score("accuracy")
MAP = Score("mAP")
MAE = Score("MAE", smaller_is_better=True, digits=".4g")
SCORE_OF: dict[Objective, Score] = {
    "single_label": ACCURACY,
    "multi_label": MAP,
    "regression": MAE,
}
