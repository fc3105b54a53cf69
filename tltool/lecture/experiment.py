"""An experiment: what the lecture claims, and what was found."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tltool.lecture.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["holds", "holds in part", "does not hold here", "cannot be told here"]


def verdict_of(parts: Sequence[bool]) -> Verdict:
    """Return the verdict on a claim of some parts, by whether each of them is true.

    Example:
        >>> verdict_of([True, True]), verdict_of([True, False]), verdict_of([False])
        ('holds', 'holds in part', 'does not hold here')
    """
    if all(parts):
        return "holds"
    return "holds in part" if any(parts) else "does not hold here"


@dataclass(frozen=True)
class Finding:
    """What an experiment found.

    Args:
        verdict: Whether the claim holds on these data.
        number: The result in one line, with its numbers.
        text: What was compared, and what follows; one to four sentences.
        figure: The picture. It can be read without the text: axes with units, a legend.
        rows: The numbers behind the picture, one mapping a row, all with the same keys.
    """

    verdict: Verdict
    number: str
    text: str
    figure: "Figure"
    rows: Sequence[dict[str, Any]]


class Experiment:
    """One claim of the lecture, and how it is tried.

    Subclass it as a frozen dataclass whose fields are its settings: they are its configuration, and
    their defaults are what the page shows. Seeds decide initialization and batch order.

    Attributes:
        title: What it is about, in a few words.
        claim: What the lecture claims, in a sentence.
        source: Where the claim comes from: author, year, URL.
        shows: Names of the activations whose weakness or strength it shows.
    """

    title: ClassVar[str]
    claim: ClassVar[str]
    source: ClassVar[str]
    shows: ClassVar[tuple[str, ...]] = ()

    def run(self, problem: Problem) -> Finding:
        """Run it and judge the claim.

        Args:
            problem: The data.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `run(problem)`.")

    def check(self) -> None:
        """Raise before anything runs if something is missing, such as a package.

        Raises:
            ModuleNotFoundError: If a package is missing.
        """

    @classmethod
    def name(cls) -> str:
        """The name that ``tltool compare --lecture NAME`` takes."""
        return cls.__name__

    def changed(self) -> dict[str, Any]:
        """Return the settings that are not at their default."""
        assert dataclasses.is_dataclass(self)  # noqa: S101  # see above
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
