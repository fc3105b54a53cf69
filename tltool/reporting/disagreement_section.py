"""Section of a report on several runs: the images on which two of them disagree."""

from collections.abc import Sequence

from tltool.evaluation.disagreements import Disagreement, find_disagreements
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions
from tltool.reporting.compared_runs import ComparedRuns, ImageSet, NamedRun
from tltool.reporting.html.images import thumbnail
from tltool.reporting.report import Section
from tltool.reporting.tables import FactTable

NUM_IMAGES = 12
MOST_PAIRS = 3
"""Runs that are shown beside the first one of the same images."""


def disagreement_sections(found: ComparedRuns, *, images: bool = True) -> list[Section]:
    """Return what runs predict otherwise than the first one that was measured on their images.

    Args:
        found: The runs, compared.
        images: Whether to show images; else their names only, for they may be private.
    """
    pairs = [pair for each in found.sets for pair in _pairs(each, found.runs)]
    return [disagreement_section(*pair, images=images) for pair in pairs]


def disagreement_section(first: NamedRun, second: NamedRun, *, images: bool = True) -> Section:
    """Return the images that two runs predict differently, with both predictions.

    Args:
        first: A run that was measured.
        second: Another one, measured on the same images.
        images: Whether to show the images.
    """
    one, other = first.measured.evaluation, second.measured.evaluation
    assert one is not None  # noqa: S101  # a set of images has measured runs only
    assert other is not None  # noqa: S101
    found = find_disagreements(one, other)
    shown = found[:NUM_IMAGES]
    letters = (first.letter, second.letter)
    title = f"Images on which {' and '.join(letters)} disagree"
    sentences = [_summary(letters, (one, other), found)]
    note = f"The clearest {NUM_IMAGES}; {len(found) - len(shown):,} more are left out."
    note = note if len(found) > len(shown) else ""
    rows = [
        (one.names[at], _said(one, at), _said(other, other_at), _label(one, at))
        for at, other_at, _ in shown
    ]
    if not images and rows:
        columns = ("image", *(f"{letter} predicts" for letter in letters), "is")
        note = f"{note} The images were left out (--no_images).".lstrip()
        return Section(title, sentences, FactTable(columns, rows), note=note, is_private=True)
    run = first.measured
    pictures = [
        thumbnail(
            run.decode(one.paths[each.first], mode=run.mode),
            f"{letters[0]} {said}, {letters[1]} {other_said}, is {label}: {name}",
        )
        for each, (name, said, other_said, label) in zip(shown, rows, strict=True)
    ]
    return Section(title, sentences, pictures=pictures, note=note, is_private=True)


def _pairs(images: ImageSet, runs: Sequence[NamedRun]) -> list[tuple[NamedRun, NamedRun]]:
    letters = {letter for variant in images.variants.values() for letter in variant}
    first, *others = (run for run in runs if run.letter in letters)
    return [(first, other) for other in others[:MOST_PAIRS]]


def _summary(
    letters: Sequence[str], splits: Sequence[MeasuredSplit], found: Sequence[Disagreement]
) -> str:
    one, other = splits
    number = f"{len(one.names):,} images"
    if not found:
        return f"There is none: they predict the same of all {number}."
    if isinstance(one.predictions, RegressionPredictions):
        mean = sum(each.size for each in found) / len(one.names)
        return f"Their predictions are {mean:.4g} apart on average, at most {found[0].size:.4g}."
    right, other_right = one.predictions.right.tolist(), other.predictions.right.tolist()
    pairs = [(right[each.first], other_right[each.second]) for each in found]
    return (
        f"They differ on {len(found):,} of {number}: {letters[0]} alone is right on "
        f"{pairs.count((True, False)):,}, {letters[1]} alone on {pairs.count((False, True)):,}, "
        f"neither on {pairs.count((False, False)):,}."
    )


def _said(found: MeasuredSplit, index: int) -> str:
    """Return the prediction of an image, marked as right or wrong; of numbers none is called so."""
    predictions, names = found.predictions, found.class_names
    if isinstance(predictions, RegressionPredictions):
        return predictions.words(index, names)[0]
    mark = "\N{CHECK MARK}" if predictions.right[index] else "\N{MULTIPLICATION X}"
    if isinstance(predictions, PredictionSet):
        label = names[predictions.predicted[index]]
        return f"{mark} {label} {predictions.confidence[index]:.2f}"
    return f"{mark} {predictions.words(index, names)[0]}"


def _label(found: MeasuredSplit, index: int) -> str:
    predictions, names = found.predictions, found.class_names
    if isinstance(predictions, PredictionSet):
        return names[predictions.labels[index]]
    return predictions.words(index, names)[1]
