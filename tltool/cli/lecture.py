"""`tltool compare --lecture`: the lecture's claims as experiments, and the page of them."""

import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import tltool
from tltool._atomic_write import save_figure, write_whole
from tltool._csv_rows import write_rows
from tltool._plain_text import one_line, shell_command
from tltool.comparison.cross_validation import SplitRows, split_rows
from tltool.data.datamodules.stratified_split import split_stratified
from tltool.lecture.catalog import EXPERIMENTS
from tltool.lecture.claim import Claim
from tltool.lecture.page import Entry, render_page
from tltool.lecture.problem import Problem

FLAG = "--lecture"
ALL = "all"
# The digits as 64 numbers from 0 to 1: deep networks on them train in seconds.
DIGITS = (
    *("--data", "DigitsDataModule", "--data.preprocessing", "none"),
    *("--model.backbone.name", "pixels"),
    *("--model.backbone.img_size", "8", "--model.backbone.in_chans", "1"),
)
_OWN_DATA = ("--data", "--model.backbone", "--config", "-c")
CHOOSING = 0.2
"""Share of the training images that chooses settings where only two splits are there."""


def lecture_arguments(words: Sequence[str]) -> list[str]:
    """Return the arguments of a command line with what a bare ``--lecture`` stands for.

    Example:
        >>> lecture_arguments(["--lecture", "--data.root", "images"])
        ['--lecture=all', '--data.root', 'images']
    """
    words = list(words)
    if not any(word == FLAG or word.startswith(f"{FLAG}=") for word in words):
        return words
    if FLAG in words:
        place = words.index(FLAG) + 1
        if place == len(words) or words[place].startswith("-"):
            words[place - 1] = f"{FLAG}={ALL}"
    has_data = any(word.startswith(_OWN_DATA) for word in words)
    return words if has_data else [*DIGITS, *words]


def make_problem(
    name: str, features: torch.Tensor, labels: torch.Tensor, splits: Sequence[str]
) -> Problem:
    """Return what the experiments learn; the split ``test`` reports, or ``val`` if there is none.

    Args:
        name: What the data are, for the page.
        features: ``(N, num_features)``.
        labels: Class of each row, ``(N,)``.
        splits: Name of the split of each row.

    Raises:
        ValueError: If there are no images to report on.
    """
    train, val, test = (split_rows(splits, split) for split in ("train", "val", "test"))
    if not len(train) or not len(val) + len(test):
        raise ValueError(
            "The experiments train on some images and report on others: give the data a split "
            "`val` or `test`."
        )
    if not len(test) or not len(val):
        test = test if len(test) else val
        names = [str(row) for row in train.tolist()]
        split = split_stratified(names, labels[train].tolist(), {"val": CHOOSING}, seed=0)
        val, train = train[split["val"]], train[split["train"]]
    return Problem(name, features.float(), labels, SplitRows(train, val, test, (0,)))


def run_lecture(
    chosen: Sequence[Claim], problem: Problem, folder: Path, words: Sequence[str]
) -> None:
    """Run experiments, print a line for each, and write page, pictures and tables.

    Args:
        chosen: The experiments.
        problem: What they learn.
        folder: Where the files go.
        words: The user's own arguments, for the commands on the page.
    """
    print(f"data      {one_line(problem.name)}")
    page, entries = folder / "lecture.html", list[Entry]()
    for experiment in chosen:
        start = time.monotonic()
        finding = experiment.find(problem)
        seconds = time.monotonic() - start
        entries.append(Entry(experiment, finding, repeat(experiment, words), seconds))
        print(
            f"\n{experiment.title}: {finding.verdict} ({seconds:.0f} s)\n  {finding.number}.",
            flush=True,
        )
        save_figure(finding.figure, folder / f"{experiment.name()}.png")
        columns = dict.fromkeys(column for row in finding.rows for column in row)
        write_rows(folder / f"{experiment.name()}.csv", list(columns), finding.rows)
        # After each one: what is done is there if the next is interrupted.
        write_whole(page, render_page(entries, data=problem.name, made_with=_made_with()))
        write_whole(folder / "lecture.json", json.dumps([_summary(e) for e in entries], indent=1))
    print(f"\npage      {one_line(page)}")
    print(f"beside    {one_line(folder)}/NAME.png and NAME.csv, the pictures and their numbers")


def chosen_experiments(lecture: Claim | str) -> list[Claim]:
    """Return one experiment, or all with their defaults; none if a package is missing.

    Raises:
        ModuleNotFoundError: If a package is missing.
    """
    chosen = [lecture] if isinstance(lecture, Claim) else [cls() for cls in EXPERIMENTS]
    for experiment in chosen:
        experiment.check()
    return chosen


def repeat(experiment: Claim, words: Sequence[str]) -> str:
    """Return the command that repeats one experiment.

    Example:
        >>> from tltool.lecture.saturation import Saturation
        >>> repeat(Saturation(), ["--lecture", "--data.root", "my images"])
        "tltool compare --lecture Saturation --data.root 'my images'"
    """
    words = list(words)
    if FLAG in words and (words[-1] == FLAG or words[words.index(FLAG) + 1].startswith("-")):
        words.remove(FLAG)
        words = [FLAG, experiment.name(), *words]
    elif f"{FLAG}={ALL}" in words:
        words[words.index(f"{FLAG}={ALL}")] = f"{FLAG}={experiment.name()}"
    return shell_command("tltool", "compare", *words)


def _summary(entry: Entry) -> dict[str, Any]:
    experiment, finding = entry.experiment, entry.finding
    return {
        "experiment": experiment.name(),
        "verdict": finding.verdict,
        "number": finding.number,
        "text": finding.text,
        "seconds": round(entry.seconds, 1),
    }


def _made_with() -> str:
    threads = torch.get_num_threads()
    return (
        f"tltool {tltool.__version__}, torch {torch.__version__}, {platform.machine()} CPU, "
        f"{threads} {'thread' if threads == 1 else 'threads'}, {time.strftime('%Y-%m-%d')}. Bands "
        "are the range over seeds."
    )
