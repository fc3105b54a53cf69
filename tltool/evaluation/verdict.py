"""Verdict on a measured split: is it better than the baselines, beyond noise, in sentences."""

from collections.abc import Mapping
from enum import StrEnum

from tltool.evaluation.baselines import MAJORITY, PROBE
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.paired_differences import Difference


class Mark(StrEnum):
    """A sign for a verdict, so that no color is needed."""

    YES = "\N{CHECK MARK}"
    SAME = "\N{ALMOST EQUAL TO}"
    NO = "\N{MULTIPLICATION X}"
    UNKNOWN = "?"


def answer(differences: Mapping[str, Difference]) -> tuple[Mark, str]:
    """Return whether training paid, from the differences to both baselines."""
    majority, probe = differences[MAJORITY], differences[PROBE]
    if not majority.is_finding and majority.estimate.mean > majority.estimate.standard_error:
        return Mark.UNKNOWN, (
            "It cannot be told yet: it looks better than always saying the most frequent class, "
            "but these images are too few to prove it."
        )
    if not majority.is_finding or majority.estimate.mean < 0:
        return Mark.NO, "No: it is not provably better than always saying the most frequent class."
    if not probe.is_finding:
        return Mark.SAME, (
            "In part: it learned, but not provably more than a closed-form probe of the pretrained "
            "features gives without training."
        )
    if probe.estimate.mean < 0:
        return Mark.NO, (
            "No: it learned, but a closed-form probe of the pretrained features is better without "
            "training."
        )
    return Mark.YES, "Yes: it is better than both baselines, beyond what chance explains."


def reasons(measured: MeasuredSplit) -> list[str]:
    """Return what the answer rests on, in sentences: the accuracy, then each difference."""
    accuracy = measured.accuracy
    low, high = accuracy.interval
    of_groups = f" of {len(set(measured.groups)):,} groups" if measured.groups else ""
    return [
        f"Accuracy {accuracy.accuracy:.3f}, 95 % interval {low:.3f} to {high:.3f}, on "
        f"{accuracy.num_images:,} {measured.split} images{of_groups}.",
        *(f"{describe_difference(d, f'the {n}')}." for n, d in measured.differences.items()),
    ]


def describe_difference(difference: Difference, other: str) -> str:
    """Return the difference to something else in words: as one only where it is beyond noise."""
    estimate = difference.estimate
    low, high = estimate.interval
    relation = "Better" if estimate.mean > 0 else "Worse"
    if not difference.is_finding:
        relation = "Not provably better or worse"
    return (
        f"{relation} than {other}: {estimate.mean:+.3f}, 95 % interval "
        f"{low:+.3f} to {high:+.3f}, p {words_of_p(difference.p_value)}"
    )


def words_of_p(p_value: float) -> str:
    """Return a p value in words.

    Example:
        >>> words_of_p(0.0214), words_of_p(1e-9)
        ('= 0.021', '< 0.001')
    """
    return f"= {p_value:.2g}" if p_value >= 0.001 else "< 0.001"
