"""Verdict on a measured split: is it better than the baselines, beyond noise, in sentences."""

from collections.abc import Mapping
from enum import StrEnum

from tltool.evaluation.baselines import FREQUENCIES, MAJORITY, MEAN, MEDIAN, PROBE
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.paired_differences import Difference

CONSTANT = {
    MAJORITY: "always saying the most frequent class",
    FREQUENCIES: "always saying how frequent each class is",
    MEDIAN: "always saying the median of training",
    MEAN: "always saying the mean of training",
}
"""What a baseline without a network does, in words."""


class Mark(StrEnum):
    """A sign for a verdict, so that no color is needed."""

    YES = "\N{CHECK MARK}"
    SAME = "\N{ALMOST EQUAL TO}"
    NO = "\N{MULTIPLICATION X}"
    UNKNOWN = "?"


def answer(differences: Mapping[str, Difference]) -> tuple[Mark, str]:
    """Return whether training paid, from the differences to the baselines.

    Args:
        differences: To the closed-form probe, if it was fitted, and to at least one constant
            baseline, of which the strongest counts.
    """
    probe, constants = differences.get(PROBE), [n for n in differences if n in CONSTANT]
    name = min(constants, key=lambda name: differences[name].gain)
    constant, words = differences[name], CONSTANT[name]
    if not constant.is_finding and constant.gain > constant.estimate.standard_error:
        return Mark.UNKNOWN, (
            f"It cannot be told yet: it looks better than {words}, but these images are too few to "
            "prove it."
        )
    if not constant.is_finding or constant.gain < 0:
        return Mark.NO, f"No: it is not provably better than {words}."
    if probe is None:
        return Mark.UNKNOWN, (
            f"It cannot be told whether training paid: it is better than {words}, but there is no "
            "closed-form probe to compare it with."
        )
    if not probe.is_finding:
        return Mark.SAME, (
            "In part: it learned, but not provably more than a closed-form probe of the pretrained "
            "features gives without training."
        )
    if probe.gain < 0:
        return Mark.NO, (
            "No: it learned, but a closed-form probe of the pretrained features is better without "
            "training."
        )
    those = "both" if len(differences) == 2 else f"all {len(differences)}"
    return Mark.YES, f"Yes: it is better than {those} baselines, beyond what chance explains."


def reasons(measured: MeasuredSplit) -> list[str]:
    """Return what the answer rests on, in sentences: the score, then each difference."""
    words, found = measured.score.words, measured.result
    low, high = map(words, found.interval)
    of_groups = f" of {len(set(measured.groups)):,} groups" if measured.groups else ""
    return [
        f"{measured.score.title} {words(found.value)}, 95 % interval {low} to {high}, on "
        f"{len(measured.predictions):,} {measured.split} images{of_groups}.",
        *(f"{describe_difference(d, f'the {n}')}." for n, d in measured.differences.items()),
    ]


def describe_difference(difference: Difference, other: str) -> str:
    """Return the difference to something else in words: as one only where it is beyond noise."""
    estimate, score = difference.estimate, difference.score
    low, high = (score.words(bound, "+") for bound in estimate.interval)
    relation = "Better" if difference.gain > 0 else "Worse"
    if not difference.is_finding:
        relation = "Not provably better or worse"
    return (
        f"{relation} than {other}: {score.words(estimate.mean, '+')}, 95 % interval "
        f"{low} to {high}, p {words_of_p(difference.p_value)}"
    )


def words_of_p(p_value: float) -> str:
    """Return a p value in words.

    Example:
        >>> words_of_p(0.0214), words_of_p(1e-9)
        ('= 0.021', '< 0.001')
    """
    return f"= {p_value:.2g}" if p_value >= 0.001 else "< 0.001"
