"""The page of several runs: what differs, and whether it made a difference."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from tltool.comparison.differences import Difference, judge
from tltool.reporting.config_differences import SEED, config_differences
from tltool.reporting.evaluation import MAJORITY, RUN, Evaluation
from tltool.reporting.figures import draw_curves
from tltool.reporting.html import page, paragraph, picture, pictures, section, table
from tltool.reporting.run_page import MeasuredRun
from tltool.reporting.verdict import describe, is_cut_short

MOST_PAIRED = 4
"""Variants of which all pairs are compared; of more, each with the first."""


class NamedRun(NamedTuple):
    """A run with a short name.

    Attributes:
        letter: Its name on the page.
        measured: The run.
        photos: Which photos it was measured on, in words.
    """

    letter: str
    measured: MeasuredRun
    photos: str


@dataclass(frozen=True)
class PhotoSet:
    """Runs that were measured on the same photos, which alone can be compared.

    Attributes:
        name: Of the photos, on the page.
        fingerprint: See `Evaluation.fingerprint`.
        variants: Letters of runs that differ in no more than their seed, by the variant's name.
        differences: Of the variants, paired over the photos, and over seeds where all have the
            same ones.
    """

    name: str
    fingerprint: str
    variants: dict[str, list[str]]
    differences: list[Difference]


@dataclass(frozen=True)
class RunsPage:
    """Some runs and what was found out about them.

    Attributes:
        runs: The runs, the first is what the others are compared with.
        sets: The photos that they were measured on.
        sentences: What was found, the answer first.
    """

    runs: list[NamedRun]
    sets: list[PhotoSet]
    sentences: list[str]


def compare_runs(measured: Sequence[MeasuredRun]) -> RunsPage:
    """Compare runs, those that were measured on the same photos with each other.

    Args:
        measured: The runs; the first one of each set of photos is what others are compared with.
    """
    letters = [_letter(number) for number in range(len(measured))]
    by_print: dict[str, dict[str, MeasuredRun]] = {}
    for letter, run in zip(letters, measured, strict=True):
        if run.evaluation is not None:
            by_print.setdefault(run.evaluation.fingerprint, {})[letter] = run
    sets = [_photo_set(n, key, runs) for n, (key, runs) in enumerate(by_print.items(), start=1)]
    names = {key: photos.name for key, photos in zip(by_print, sets, strict=True)}
    runs = [
        NamedRun(letter, run, _photos(run.evaluation, names))
        for letter, run in zip(letters, measured, strict=True)
    ]
    return RunsPage(runs, sets, _sentences(runs, sets))


def render_runs_page(found: RunsPage, *, made_with: str) -> str:
    """Return the page as HTML.

    Args:
        found: The runs.
        made_with: Versions and time.
    """
    answer = "".join(
        paragraph(sentence, "verdict" if number == 0 else "")
        for number, sentence in enumerate(found.sentences)
    )
    body = [f'<div class="answer">{answer}</div>', _overview(found)]
    body += [_differences(photos, found) for photos in found.sets if photos.differences]
    body += [_config(found), _curves(found)]
    return page(f"{len(found.runs)} runs", body, made_with=made_with)


def _letter(number: int) -> str:
    """Return A to Z, then A2 and so on."""
    round_, place = divmod(number, 26)
    return string.ascii_uppercase[place] + (str(round_ + 1) if round_ else "")


def _photos(evaluation: Evaluation | None, names: Mapping[str, str]) -> str:
    if evaluation is None:
        return "not measured"
    number = f"{len(evaluation.labels):,} {evaluation.part} photos"
    return f"{names[evaluation.fingerprint]}: {number}, {evaluation.fingerprint}"


def _photo_set(number: int, fingerprint: str, runs: Mapping[str, MeasuredRun]) -> PhotoSet:
    evaluations = {letter: run.evaluation for letter, run in runs.items() if run.evaluation}
    variants = _variants({letter: runs[letter].record.config for letter in evaluations})
    # The photos may come in another order, for example where class names were given.
    order = {letter: _order(evaluation) for letter, evaluation in evaluations.items()}
    correct = {
        name: torch.stack([evaluations[letter].correct[order[letter]] for letter in letters])
        for name, letters in variants.items()
    }
    first, chosen = next(iter(evaluations.items()))
    groups = [chosen.groups[index] for index in order[first]] if chosen.groups else None
    found = (
        judge(correct, next(iter(correct)) if len(correct) > MOST_PAIRED else None, groups)
        if len(correct) > 1
        else []
    )
    return PhotoSet(f"set {number}", fingerprint, variants, found)


def _order(evaluation: Evaluation) -> list[int]:
    return sorted(range(len(evaluation.names)), key=evaluation.names.__getitem__)


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


def _sentences(runs: Sequence[NamedRun], sets: Sequence[PhotoSet]) -> list[str]:
    differences = [difference for photos in sets for difference in photos.differences]
    if not differences:
        said = ["? Nothing can be compared."]
    elif any(difference.is_finding for difference in differences):
        said = ["\N{CHECK MARK} There is a difference beyond noise."]
    else:
        said = ["\N{ALMOST EQUAL TO} There is no difference beyond noise."]
    if len(sets) > 1:
        said.append(
            "The runs were measured on different photos, so there is no ranking over all of them: "
            "on other photos an accuracy is another number. Train them with the same --data "
            "options."
        )
    for photos in sets:
        where = f"On {photos.name}: " if len(sets) > 1 else ""
        alone = f"{where}only run {'+'.join(photos.variants)} was measured."
        said += [f"{where}{_words(each)}." for each in photos.differences] or [alone]
    unmeasured = [run.letter for run in runs if run.measured.evaluation is None]
    return [*said, f"Not measured: {', '.join(unmeasured)}."] if unmeasured else said


def _words(difference: Difference) -> str:
    words = describe(difference, difference.reference)
    return f"{difference.name} is {words[0].lower()}{words[1:]}"


def _overview(found: RunsPage) -> str:
    header = ("run", "accuracy", "95 % interval", "majority class", "photos", "training", "folder")
    note = (
        "Runs with the same set of photos were measured on the same ones: same paths, same "
        "classes. Two intervals that overlap may still differ, for differences are paired. tltool "
        "report FOLDER measures one run beside a closed-form probe too."
    )
    rows = [_row(run) for run in found.runs]
    return section("The runs", table(header, rows, numbers=(1, 2, 3)), paragraph(note, "small"))


def _row(run: NamedRun) -> tuple[object, ...]:
    evaluation, record = run.measured.evaluation, run.measured.record
    accuracy = ("", "", "")
    if evaluation is not None:
        low, high = evaluation.interval()
        scores = evaluation.scores
        accuracy = (
            f"{scores[RUN].accuracy:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{scores[MAJORITY].accuracy:.3f}",
        )
    is_cut = is_cut_short(record) and not run.measured.has_ended
    cut = f" of {record.max_epochs}, cut short." if is_cut else "."
    said = " ".join([f"{record.epochs_done} epochs{cut}", *run.measured.missing])
    return (run.letter, *accuracy, run.photos, said, record.folder)


def _differences(photos: PhotoSet, found: RunsPage) -> str:
    rows = []
    for difference in photos.differences:
        low, high = difference.estimate.interval
        verdict = "\N{CHECK MARK} beyond noise"
        rows.append(
            (
                f"{difference.name} less {difference.reference}",
                f"{difference.estimate.mean:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                f"{difference.p_value:.2g}",
                verdict if difference.is_finding else "\N{ALMOST EQUAL TO} noise",
            )
        )
    seeds = max(len(letters) for letters in photos.variants.values())
    over = f"photos and {seeds} seeds" if seeds > 1 else "photos; luck of the seed is not in it"
    corrected = f" p after Holm's correction for {len(rows)}." if len(rows) > 1 else ""
    note = f"Accuracy, paired over {over}.{corrected}"
    header = ("", "difference", "95 % interval", "p", "verdict")
    title = "Differences" + (f" on {photos.name}" if len(found.sets) > 1 else "")
    return section(title, table(header, rows, numbers=(1, 2, 3)), paragraph(note, "small"))


def _config(found: RunsPage) -> str:
    title = "What differs in the configuration"
    differing = config_differences([run.measured.record.config for run in found.runs])
    if not differing:
        return section(title, paragraph("Nothing: they are the same run, repeated."))
    header = ("option", *(run.letter for run in found.runs))
    return section(title, table(header, [(key, *values) for key, values in differing.items()]))


def _curves(found: RunsPage) -> str:
    images = []
    for name, label in (("val/loss", "validation loss"), ("val/accuracy", "validation accuracy")):
        series = {run.letter: run.measured.record.metrics.get(name, []) for run in found.runs}
        series = {letter: points for letter, points in series.items() if points}
        if series:
            ends = ", ".join(f"{letter} {points[-1][1]:.4f}" for letter, points in series.items())
            images.append(picture(draw_curves(series, label), f"The {label}; at the end {ends}."))
    empty = paragraph("Nothing was measured: no epoch was finished.")
    note = paragraph("Validation photos may differ between the runs too.", "small")
    return section("How they learned", pictures(*images) + note if images else empty)
