"""Tables of transfer.py: accuracy and minutes by method and set, and paired differences."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

import torch
from image_sets import SETS
from transfer_methods import FIT, OTHERS, Cell
from transfer_results import Results, correct_of, over_sets, paired, versions

from tltool.evaluation.accuracy import wilson
from tltool.evaluation.paired_differences import MeanEstimate

COMPARED = ("probe", "reference", *OTHERS)
Table = Mapping[str, Mapping[str, Sequence[Cell]]]
"""Cells by method and set."""


def print_tables(
    results: Results, firsts: Sequence[str] = (FIT,), others: Sequence[str] = COMPARED
) -> None:
    """Print what is there.

    Args:
        results: By cell, of one backbone and size.
        firsts: Methods that are compared with others.
        others: Those.
    """
    table = by_method_and_set(results)
    sets = [name for name in SETS if any(name in row for row in table.values())]
    print("Accuracy, with its 95 % interval:\n")
    _print_rows(table, sets, lambda cells: _accuracy(cells, results))
    print("\nMinutes of the whole process:\n")
    _print_rows(table, sets, lambda cells: f"{mean(results[c]['minutes'] for c in cells):.1f}")
    pairs = [
        (first, other)
        for first in firsts
        for other in others
        if first != other and {first, other} <= set(table)
    ]
    if pairs:
        print("\nPaired differences with their standard error; **bold**: below by more than it:\n")
        print_differences(table, results, pairs)
    print(f"\n{_choices(results)}\nMeasured with {versions(results)}.")


def by_method_and_set(results: Results) -> dict[str, dict[str, list[Cell]]]:
    """Return the cells by method and set, in order of their seeds."""
    table: dict[str, dict[str, list[Cell]]] = {}
    for cell in sorted(results, key=lambda each: each.seed):
        table.setdefault(cell.method, {}).setdefault(cell.image_set, []).append(cell)
    return table


def _print_rows(table: Table, sets: Sequence[str], show: Callable[[Sequence[Cell]], str]) -> None:
    print("| method |", " | ".join(sets), "|\n|---|" + "---|" * len(sets))
    for method, row in table.items():
        cells = [show(row[name]) if name in row else "-" for name in sets]
        print(f"| {method} |", " | ".join(cells), "|")


def _accuracy(cells: Sequence[Cell], results: Results) -> str:
    correct = torch.stack([correct_of(results[cell]) for cell in cells]).double().mean(dim=0)
    share = float(correct.mean())
    low, high = wilson(share, len(correct))
    return f"{share:.3f} ({low:.3f} to {high:.3f})"


def print_differences(table: Table, results: Results, pairs: Sequence[tuple[str, str]]) -> None:
    """Print how much better methods are than others on each set, and on average over the sets."""
    found = {
        (first, other): {
            name: paired(table[first][name], table[other][name], results)
            for name in SETS
            if name in table[first] and name in table[other]
        }
        for first, other in pairs
    }
    print("| set |", " | ".join(f"{first} less {other}" for first, other in pairs), "|")
    print("|---|" + "---|" * len(pairs))
    for name in [name for name in SETS if any(name in column for column in found.values())]:
        cells = [_difference(column.get(name)) for column in found.values()]
        print(f"| {name} |", " | ".join(cells), "|")
    print("| mean |", " | ".join(map(_mean_difference, found.values())), "|")


def _difference(estimate: MeanEstimate | None) -> str:
    if estimate is None:
        return "-"
    text = f"{estimate.mean:+.3f} +- {estimate.standard_error:.3f}"
    return f"**{text}**" if estimate.mean < -estimate.standard_error else text


def _mean_difference(column: Mapping[str, MeanEstimate]) -> str:
    """Return the mean over the sets with its 95 % interval, for other sets."""
    means = {name: estimate.mean for name, estimate in column.items()}
    sources = {name: SETS[name].source for name in means}
    if len(set(sources.values())) < 2:
        return "-"
    estimate = over_sets(means, sources)
    low, high = estimate.interval
    return f"{estimate.mean:+.3f} ({low:+.3f} to {high:+.3f}), {len(means)} sets"


def _choices(results: Results) -> str:
    """Return what ``tltool fit`` chose, a line for each run."""
    lines = []
    for cell, row in results.items():
        if cell.method == FIT:
            name = row["strategy"]["class_path"].rpartition(".")[2]
            run = f"{cell.image_set}, seed {cell.seed}"
            lines.append(f"{run}: {name}, lr {row['lr']:g}, {row['epochs']} epochs")
    return "\n".join(lines)
