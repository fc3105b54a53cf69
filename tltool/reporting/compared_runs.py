"""Several runs beside each other: which were measured on the same images, and what differs."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from tltool._plain_text import shell_command
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.paired_differences import Difference, judge
from tltool.evaluation.score import Score
from tltool.evaluation.verdict import Mark, describe_difference
from tltool.reporting.config_differences import SEED, config_differences
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_verdict import Verdict

MOST_PAIRED = 4
"""Variants of which all pairs are compared; of more, each with the first."""


class NamedRun(NamedTuple):
    """A run with a short name.

    Attributes:
        letter: Its name on the page.
        measured: The run.
        images: Which images it was measured on, in words.
    """

    letter: str
    measured: MeasuredRun
    images: str


@dataclass(frozen=True)
class ImageSet:
    """Runs that were measured on the same images, which alone can be compared.

    Attributes:
        name: Of the images, on the page.
        variants: Letters of runs that differ in no more than their seed, by the variant's name.
        differences: Of the variants, paired over the images, and over seeds where all have the
            same ones.
        score: What they are compared by.
    """

    name: str
    variants: dict[str, list[str]]
    differences: list[Difference]
    score: Score


@dataclass(frozen=True)
class ComparedRuns:
    """Runs and what was found out about them.

    Attributes:
        runs: The runs, the first is what the others are compared with.
        sets: The images that they were measured on.
        verdict: What was found.
    """

    runs: list[NamedRun]
    sets: list[ImageSet]
    verdict: Verdict

    @property
    def title(self) -> str:
        """The title of a report on them."""
        return f"tltool: {', '.join(run.measured.name for run in self.runs)}"


def compare_runs(measured: Sequence[MeasuredRun]) -> ComparedRuns:
    """Compare runs, those that were measured on the same images with each other.

    Args:
        measured: The runs; the first one of each set of images is what others are compared with.
    """
    named = {_letter(number): run for number, run in enumerate(measured)}
    by_print: dict[str, dict[str, MeasuredRun]] = {}
    for letter, run in named.items():
        if run.evaluation is not None:
            by_print.setdefault(run.evaluation.fingerprint, {})[letter] = run
    sets = [_image_set(f"set {n}", runs) for n, runs in enumerate(by_print.values(), start=1)]
    names = {key: images.name for key, images in zip(by_print, sets, strict=True)}
    runs = [NamedRun(each, run, _images(run.evaluation, names)) for each, run in named.items()]
    return ComparedRuns(runs, sets, _verdict(runs, sets))


def _letter(number: int) -> str:
    """Return A to Z, then A2 and so on."""
    return string.ascii_uppercase[number % 26] + (str(number // 26 + 1) if number >= 26 else "")


def _images(evaluation: MeasuredSplit | None, names: Mapping[str, str]) -> str:
    if evaluation is None:
        return "not measured"
    number = f"{len(evaluation.predictions):,} {evaluation.split} images"
    return f"{names[evaluation.fingerprint]}: {number}, {evaluation.fingerprint}"


def _image_set(name: str, runs: Mapping[str, MeasuredRun]) -> ImageSet:
    # The images may come in another order, for example where class names were given.
    measured = {letter: run.evaluation for letter, run in runs.items() if run.evaluation}
    found = {letter: each.by_name for letter, each in measured.items()}
    score = next(iter(measured.values())).score  # Of other scores, the images count as others.
    variants = _variants({letter: runs[letter].record.config for letter in found})
    scores = {
        name: torch.stack([found[letter][0] for letter in letters])
        for name, letters in variants.items()
    }
    reference = next(iter(scores)) if len(scores) > MOST_PAIRED else None
    _, groups = next(iter(found.values()))
    differences = judge(scores, reference, groups, score=score)
    return ImageSet(name, variants, differences, score)


def _variants(configs: Mapping[str, Mapping[str, object]]) -> dict[str, list[str]]:
    """Return runs that differ in no more than their seed together, if all have the same seeds.

    Differences are paired over seeds; where they are not the same, each run stands for itself.
    """
    found: dict[str, list[str]] = {}
    seeds: dict[str, list[object]] = {}
    for letter, config in configs.items():
        same = next((n for n in found if _only_seed(configs[found[n][0]], config)), letter)
        found.setdefault(same, []).append(letter)
        seeds.setdefault(same, []).append(config.get(SEED))
    all_seeds = list(seeds.values())
    paired = all(sorted(map(str, each)) == sorted(map(str, all_seeds[0])) for each in all_seeds)
    if not paired or len(found) < 2 or len(set(map(str, all_seeds[0]))) < len(all_seeds[0]):
        return {letter: [letter] for letter in configs}
    return {
        "+".join(letters): sorted(letters, key=lambda letter: str(configs[letter].get(SEED)))
        for letters in found.values()
    }


def _only_seed(config: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return set(config_differences([config, other])) <= {SEED}


def _verdict(runs: Sequence[NamedRun], sets: Sequence[ImageSet]) -> Verdict:
    differences = [difference for images in sets for difference in images.differences]
    findings = [difference for difference in differences if difference.is_finding]
    # By the first run of a variant.
    records = {run.letter: run.measured.record for run in runs}
    if findings:
        first = findings[0]
        better = first.name if first.gain > 0 else first.reference
        mark, said, step = Mark.YES, "There is a difference beyond noise.", f"Use {better}:"
        commands = [records[better.partition("+")[0]].checkpoint_command("predict")]
    elif differences:
        mark, said = Mark.SAME, "There is no difference beyond noise."
        step = "Train them with another seed too, and report all of these runs together:"
        pair = (differences[0].reference, differences[0].name)
        chosen = [records[name.partition("+")[0]] for name in pair]
        commands = [record.fit_command("--seed_everything", _new_seed(runs)) for record in chosen]
    else:
        mark, said, step = Mark.UNKNOWN, "Nothing can be compared.", "Look at each run by itself:"
        commands = [shell_command("tltool", "report", runs[0].measured.record.run_dir)]
    return Verdict(mark, said, step, commands, _reasons(runs, sets))


def _reasons(runs: Sequence[NamedRun], sets: Sequence[ImageSet]) -> list[str]:
    said = []
    if len(sets) > 1:
        said.append(
            "The runs were measured on different images, so there is no ranking over all of them: "
            "on other images a score is another number. Train them with the same --data "
            "options."
        )
    for images in sets:
        where = f"On {images.name}: " if len(sets) > 1 else ""
        alone = f"{where}only run {'+'.join(images.variants)} was measured."
        said += [f"{where}{_words(each)}." for each in images.differences] or [alone]
    unmeasured = [run.letter for run in runs if run.measured.evaluation is None]
    return [*said, f"Not measured: {', '.join(unmeasured)}."] if unmeasured else said


def _new_seed(runs: Sequence[NamedRun]) -> str:
    seeds = [run.measured.record.config.get(SEED) for run in runs]
    return str(max((seed for seed in seeds if type(seed) is int), default=0) + 1)


def _words(difference: Difference) -> str:
    words = describe_difference(difference, difference.reference)
    return f"{difference.name} is {words[0].lower()}{words[1:]}"
