"""Labels as a table writes them: the checks of each objective, and from text to labels."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from tltool._objective import SEPARATOR, Objective
from tltool.data.datamodules.records import check_filled
from tltool.data.files.natural_order import sort_classes
from tltool.data.loading.labels import MOST_LEVELS, Label

_BINS, _BIN_SIZE = 10, 20  # quantiles of a target that are split alike, and their fewest images
_RARE = "rare"  # the stratum of what is alone in its own


def check_cells(
    cells: Sequence[str],
    names: Sequence[str],
    objective: Objective,
    *,
    place: str,
    are_given: bool = False,
) -> None:
    """Raise unless each cell holds a label of this objective.

    Args:
        cells: The label of each image as text.
        names: The name of each image.
        objective: What is to be learned.
        place: Where the data lies.
        are_given: Whether the names of the classes are given, and so say what a class is.

    Raises:
        ValueError: It says which objective the cells are of, where that is clear.

    Example:
        >>> check_cells(["ants;bees"], ["a.jpg"], "single_label", place="'images.csv'")
        Traceback (most recent call last):
        ...
        ValueError: 1 rows of 'images.csv' have several classes, such as 'ants;bees'. Set ...
    """
    if objective == "multi_label":
        if not any(cells):
            check_filled(cells, names, "label", place=place)
        return
    if objective == "single_label" and not are_given:
        _check_one_class(cells, place)
    if objective == "regression":
        _check_numbers(cells, names, place)
    check_filled(cells, names, "label", place=place)


def _check_one_class(cells: Sequence[str], place: str) -> None:
    several = [cell for cell in cells if SEPARATOR in cell]
    if several:
        raise ValueError(
            f"{len(several)} rows of {place} have several classes, such as {several[0]!r}. Set "
            "--model.objective multi_label to learn any number of classes for each image; or if "
            "this is the name of one class, name all classes: --data.class_names."
        )
    numbers = {cell: _number(cell) for cell in set(cells)}
    found = [number for number in numbers.values() if number is not None]
    if len(found) == len(numbers) > MOST_LEVELS and not all(map(float.is_integer, found)):
        example = next(cell for cell, number in numbers.items() if number and number % 1)
        raise ValueError(
            f"The labels in {place} are {len(numbers):,} different numbers, such as {example}, "
            "not classes. Set --model.objective regression to learn the number."
        )


def _check_numbers(cells: Sequence[str], names: Sequence[str], place: str) -> None:
    wrong = [row for row, cell in enumerate(cells) if cell and _number(cell) is None]
    if wrong:
        cell = cells[wrong[0]]
        other = "multi_label" if SEPARATOR in cell else "single_label"
        raise ValueError(
            f"{len(wrong)} rows of {place} have a label that is no number, the first of them row "
            f"{wrong[0] + 1}, {names[wrong[0]]!r}: {cell!r}. Give each row a number, or set "
            f"--model.objective {other} to learn classes."
        )


def cell_classes(cell: str) -> list[str]:
    """Return the classes in a cell, each once.

    Example:
        >>> cell_classes("bees; ants;bees"), cell_classes("")
        (['bees', 'ants'], [])
    """
    return list(dict.fromkeys(filter(None, map(str.strip, cell.split(SEPARATOR)))))


def found_classes(cells: Sequence[str], objective: Objective) -> list[str]:
    """Return the classes of labels, sorted by name, numbers in it by value.

    Example:
        >>> found_classes(["bees;ants", "", "bees"], "multi_label")
        ['ants', 'bees']
    """
    if objective == "multi_label":
        return sort_classes({name for cell in set(cells) for name in cell_classes(cell)})
    return sort_classes(set(cells))


def to_labels(
    cells: Sequence[str], class_names: Sequence[str], objective: Objective
) -> list[Label]:
    """Return labels, see `Label`; images with the same classes share one.

    Example:
        >>> to_labels(["bees", "ants;bees", ""], ["ants", "bees"], "multi_label")
        [(0.0, 1.0), (1.0, 1.0), (0.0, 0.0)]
    """
    if objective == "regression":
        return [float(cell) for cell in cells]
    label_of: dict[str, Label] = {name: label for label, name in enumerate(class_names)}
    if objective == "multi_label":
        for cell in set(cells):
            has = set(cell_classes(cell))
            label_of[cell] = tuple(float(name in has) for name in class_names)
    return [label_of[cell] for cell in cells]


def strata(cells: Sequence[str], objective: Objective) -> list[Hashable]:
    """Return what a split keeps the shares of: the class of each image.

    Of several classes that is the rarest one, so that rare classes are shared out exactly (which is
    where the iterative rule of Sechidis et al., 2011, "On the stratification of multi-label data",
    begins); of numbers the level, or of more than `MOST_LEVELS` the quantile.

    Example:
        >>> strata(["bees;ants", "bees", "ants;bees", "bees", ""], "multi_label")
        ['ants', 'bees', 'ants', 'bees', 'rare']
    """
    if objective == "single_label":
        return list(cells)
    found = _rarest(cells) if objective == "multi_label" else _quantiles(cells)
    counts = Counter(found)
    return [one if counts[one] > 1 else _RARE for one in found]


def _rarest(cells: Sequence[str]) -> list[Hashable]:
    classes_of = {cell: cell_classes(cell) for cell in set(cells)}
    counts = Counter(name for cell in cells for name in classes_of[cell])
    rarest = {
        cell: min(names, key=lambda name: (counts[name], name), default="")
        for cell, names in classes_of.items()
    }
    return [rarest[cell] for cell in cells]


def _quantiles(cells: Sequence[str]) -> list[Hashable]:
    numbers = [float(cell) for cell in cells]
    if len(set(numbers)) <= MOST_LEVELS:
        return list(numbers)
    number_of_bins = min(max(len(cells) // _BIN_SIZE, 1), _BINS)
    place_of = {number: place for place, number in enumerate(sorted(numbers))}
    return [place_of[number] * number_of_bins // len(cells) for number in numbers]


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
