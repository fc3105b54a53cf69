"""How often are label errors, unknown inputs, prediction sets and shortcuts right?

All but the shortcuts is judged on features of four sets, which are computed once and kept; the
closed-form probe stands for the network. `flips`: labels that were flipped on purpose, at random or
to the most similar class, and what the list of label errors finds of them, beside cleanlab's own
on the same features. `unknown`: each class in turn is left out of training. `coverage`: prediction
sets over resamplings. `shortcuts`: planted ones, and clean halves. Each draw is kept in a file, and
a later call goes on from there. `print` prints the tables.

Run: python scripts/benchmark/trust.py run --folders hymenoptera=DIR brain_mri=DIR
     python scripts/benchmark/trust.py print
"""

import argparse
import functools
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from results import FOLDER, Row, kept
from torch import Tensor
from torch.nn import functional
from trust_features import SetFeatures, set_features
from trust_judges import (
    cleanlab_list,
    coverage_of,
    flip_labels,
    list_quality,
    unknown_aurocs,
    val_logits,
)
from trust_shortcuts import measure_shortcuts
from trust_tables import print_tables

from tltool.evaluation.label_errors import judge_labels
from tltool.evaluation.left_out_probe import LeftOutProbe

SETS = ("hymenoptera", "brain_mri", "digits", "fashion")
SHARE = 0.05
DRAWS = 20


def main() -> None:
    """Measure what is missing, or print what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=("run", "print"), help="results or tables")
    parser.add_argument("--folders", nargs="*", default=[], metavar="SET=DIR")
    parser.add_argument("--place", type=Path, default=FOLDER, help="holds sets and results")
    parser.add_argument("--draws", type=int, default=DRAWS)
    args = parser.parse_args()
    results = args.place / "trust" / "results.jsonl"
    if args.verb == "run":
        folders = {name: Path(path) for name, _, path in (s.partition("=") for s in args.folders)}
        sets, features = args.place / "data", args.place / "trust" / "features"
        found = {name: set_features(name, folders, sets, features) for name in SETS}
        for name, images in found.items():
            measure_predictions(name, images, results, args.draws)
        measure_shortcuts(sets, results)
        for number in NUM_IMAGES:
            key = {"what": "time", "num_images": number}
            kept(results, key, lambda number=number: in_own_process(measure_time, number))  # type: ignore[misc]
        for name, images in found.items():
            measure_labels(name, images, results, args.draws)
    print_tables(results)


def measure_predictions(name: str, images: SetFeatures, results: Path, draws: int) -> None:
    """Measure unknown inputs and prediction sets on the features of a set."""
    if len(images.class_names) > 2:
        for label in range(len(images.class_names)):
            key = {"what": "unknown", "set": name, "class": label}
            kept(results, key, lambda label=label: unknown_aurocs(images, label))  # type: ignore[misc]
    logits, labels = functools.cache(lambda: val_logits(images)), images.labels[images.is_val]
    for draw in range(draws):
        key = {"what": "coverage", "set": name, "draw": draw}
        kept(results, key, lambda draw=draw: coverage_of(logits(), labels, draw))  # type: ignore[misc]


def measure_labels(name: str, images: SetFeatures, results: Path, draws: int) -> None:
    """Measure label errors on the features of a set."""
    flips = Flips(images)
    for draw in range(draws):
        for kind in ("random", "similar"):
            key = {"what": "flips", "set": name, "kind": kind, "draw": draw}
            kept(results, key, lambda kind=kind, draw=draw: flips.measure(kind, draw))  # type: ignore[misc]


class Flips:
    """Flipped labels of a set, whose probe is decomposed once, when it is needed.

    Args:
        images: The set.
    """

    def __init__(self, images: SetFeatures) -> None:
        self.images = images
        self._probe: LeftOutProbe | None = None
        self._clean = torch.zeros(0)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.images.class_names)

    def measure(self, kind: str, draw: int) -> Row:
        """Return how well the lists of label errors find the flips of a draw."""
        labels = self.images.labels
        if self._probe is None:
            self._probe = LeftOutProbe(self.images.features, self.images.groups)
            one_hot = functional.one_hot(labels, self.num_classes)
            self._clean = self._probe.probabilities(one_hot)
        noisy, flipped = flip_labels(labels, self._clean, SHARE, kind=kind, seed=draw)
        start = time.perf_counter()
        found = judge_labels(self._probe, noisy, self.num_classes)
        seconds = time.perf_counter() - start
        accuracy = float((self._clean.argmax(dim=1) == labels).double().mean())
        listed: dict[str, Tensor] = {"tltool": found.rows}
        first = self._probe.probabilities(functional.one_hot(noisy, self.num_classes))
        listed |= cleanlab_list(self.images.features, first, noisy, with_own=draw < OWN_DRAWS)
        rows: dict[str, Any] = {name: list_quality(each, flipped) for name, each in listed.items()}
        return {"accuracy": accuracy, "seconds": seconds, "lists": rows}


OWN_DRAWS = 3
"""Draws in which cleanlab fits its own classifier too, which takes long."""


NUM_IMAGES = (5_000, 10_000, 20_000)
"""Sizes whose time and memory are measured."""


def measure_time(number: int) -> Row:
    """Return the time that images of 1,280 features take, and the memory beside them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (number,), generator=generator)
    features = torch.randn(number, 1280, generator=generator)
    features[:, :10] += 5 * functional.one_hot(labels, 10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    judge_labels(LeftOutProbe(features), labels, 10)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "cpu_seconds": cpu, "megabytes": (peak - before) / 1024}


def in_own_process(measure: Callable[[int], Row], number: int) -> Row:
    """Return what a fresh process measures, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, number).result()


if __name__ == "__main__":
    main()
