"""Claim on a claim of the lecture: settings and their limits, rows, verdict, text, picture."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from tltool.lecture.pictures import ClaimPanel, draw_panels
from tltool.lecture.problem import Problem
from tltool.lecture.table import Each, Row, flat_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIMS = tomllib.loads((Path(__file__).parent / "claims.toml").read_text("utf-8"))
"""The prose of each experiment by its name."""
Verdict = Literal["holds", "holds in part", "does not hold here", "cannot be told here"]


@dataclass(frozen=True)
class Judgement:
    """What the rows of an experiment say of its claim.

    Args:
        statements: What the claim states, and whether it is so. All: the claim holds. None: it does
            not.
        numbers: What fills the templates of the experiment; a mapping by name as a list.
        is_clear: Whether the rows can tell.

    Example:
        >>> Judgement({"units die": True, "a bias helps": False}, {}).verdict
        'holds in part'
        >>> str(Judgement({"units die": True, "a bias helps": False}, {}))
        'units die: yes. a bias helps: no.'
    """

    statements: Mapping[str, bool]
    numbers: Mapping[str, Any]
    is_clear: bool = True

    @property
    def verdict(self) -> Verdict:
        """The verdict on the claim."""
        found = self.statements.values()
        if not self.is_clear:
            return "cannot be told here"
        return "holds" if all(found) else "holds in part" if any(found) else "does not hold here"

    def __str__(self) -> str:
        """Each statement with what was found, as sentences."""
        told = {True: "yes", False: "no"}
        return " ".join(f"{name}: {told[found]}." for name, found in self.statements.items())


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


class Limit(NamedTuple):
    """What a setting must be, each of its values if it holds several.

    Attributes:
        above: What numbers are above.
        below: What numbers are below.
        at_least: How many different values there are.
        rising: Whether each number is above the one before.
        holding: Values that must be among them.
        without: Values that must not.

    Example:
        >>> str(Limit()), str(Limit(at_least=2, holding=("relu",)))
        ('above 0', "at least 2, holding ('relu',)")
        >>> Limit(below=1).allows([0.5]), Limit(below=1).allows([1.5])
        (True, False)
    """

    above: float = 0
    below: float = math.inf
    at_least: int = 1
    rising: bool = False
    holding: tuple[object, ...] = ()
    without: tuple[object, ...] = ()

    def allows(self, values: Sequence[Any]) -> bool:
        """Return whether a setting is of these values."""
        numbers = [each for each in values if isinstance(each, int | float)]
        return (
            len(set(values)) >= self.at_least
            and all(self.above < each < self.below for each in numbers)
            and (not self.rising or sorted(set(numbers)) == numbers)
            and set(self.holding) <= set(values)
            and set(self.without).isdisjoint(values)
        )

    def __str__(self) -> str:
        """What is not as by default, and what numbers are above where no names are asked for."""
        given, defaults, names = self._asdict(), self._field_defaults, self.holding + self.without
        told = [n for n in given if given[n] != defaults[n] or (n == "above" and not names)]
        return ", ".join(f"{name.replace('_', ' ')} {given[name]}" for name in told)


def setting(default: Any, **limit: Any) -> Any:
    """Return a setting of an experiment: its default, and the arguments of its `Limit`."""
    return field(default=default, metadata={"limit": Limit(**limit)})


class Claim:
    """One claim of the lecture, and how it is tried.

    Subclass it as a frozen dataclass whose fields are its settings: they are its configuration, and
    their defaults are what the page shows. Seeds decide initialization and batch order. All that is
    judged and drawn is in the rows of `run`. Its prose, from title to text, is in ``claims.toml``.

    Attributes:
        title: What it is about, in a few words.
        claim: What the lecture claims, in a sentence.
        source: Where the claim comes from: author, year, URL.
        shows: Names of the activations whose weakness or strength it shows.
        number: The result in one line, a format string that the judgement's numbers fill.
        text: What was compared, and what follows; likewise. ``{self}`` has the settings.
        index: What the lists in its rows go over, such as epochs.
        panels: What the picture shows.
        packages: What it needs besides tltool's own packages.

    Raises:
        ValueError: If a setting is not within its limits.
    """

    title: ClassVar[str]
    claim: ClassVar[str]
    source: ClassVar[str]
    shows: ClassVar[Sequence[str]]
    number: ClassVar[str]
    text: ClassVar[str]
    index: ClassVar[str] = "epoch"
    panels: ClassVar[tuple[ClaimPanel, ...]]
    packages: ClassVar[tuple[str, ...]] = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        for name, value in CLAIMS.get(cls.__name__, {}).items():
            setattr(cls, name, value)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, limit = getattr(self, each.name), each.metadata.get("limit", Limit())
            require(
                limit.allows([value] if isinstance(value, str | int | float) else list(value)),
                f"`{each.name}` must be {limit}; got {value}. The default is {each.default}.",
            )

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
        """Raise before anything runs if a package is missing.

        Raises:
            ModuleNotFoundError: If one is.
        """
        for package in self.packages:
            try:
                distribution(package)
            except PackageNotFoundError as error:
                message = f"{self.name()} needs {package}. Type: pip install 'tltool[lecture]'"
                raise ModuleNotFoundError(message) from error

    def find(self, problem: Problem) -> Finding:
        """Run it, judge the claim, and draw the picture.

        Args:
            problem: The data.
        """
        self.check()
        rows = self.run(problem)
        judgement = self.judge(rows)
        numbers = {n: Each(v) if isinstance(v, dict) else v for n, v in judgement.numbers.items()}
        number, text = (each.format(self=self, **numbers) for each in (self.number, self.text))
        text = f"{text} {judgement}"
        if num := sum(bool(row.get("lr_at_edge")) for row in rows):
            text += f" {num} of {len(rows)} networks trained at the edge of `lrs`: widen it."
        table = list(flat_table(rows, self.index))
        return Finding(judgement.verdict, number, text, draw_panels(self.panels, rows), table)

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
