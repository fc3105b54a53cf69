"""Tables of transfer.py: accuracy and minutes by method and set, and paired differences."""

from collections.abc import Callable, Mapping, Sequence

import torch
from image_sets import SETS
from transfer_methods import FIT, OTHERS, Cell
from transfer_results import Results, correct_of, over_sets, paired, versions

from tltool.evaluation.accuracy import wilson

COMPARED = ("probe", "reference", *OTHERS)
Table = Mapping[str, Mapping[str, Sequence[Cell]]]
"""Cells by method and set."""


def print_tables(results: Results, first: str = FIT, others: Sequence[str] = COMPARED) -> None:
    """Print what is there.

    Args:
        results: By cell, of one backbone and size.
        first: The method that is compared with others.
        others: Those.
    """
    table = by_method_and_set(results)
    sets = [name for name in SETS if any(name in row for row in table.values())]
    print("Accuracy, with its 95 % interval:\n")
    _print_rows(table, sets, lambda cells: _accuracy(cells, results))
    print("\nMinutes of the whole process:\n")
    _print_rows(
        table,
        sets,
        lambda cells: f"{sum(results[cell]['minutes'] for cell in cells) / len(cells):.1f}",
    )
    if first in table:
        _print_differences(table, results, first, [name for name in others if name in table])
    chosen = [cell for cell in results if cell.method == first and "strategy" in results[cell]]
    for cell in chosen:
        row = results[cell]
        name = row["strategy"]["class_path"].rpartition(".")[2]
        print(
            f"{cell.image_set}, seed {cell.seed}: {name}, lr {row['lr']:g}, {row['epochs']} epochs"
        )
    print(f"\nMeasured with {versions(results)}.")


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


def _print_differences(table: Table, results: Results, first: str, others: Sequence[str]) -> None:
    """Print how much better a method is than others, and where it is worse beyond one error."""
    sources = {name: image_set.source for name, image_set in SETS.items()}
    for other in others:
        shared = [name for name in table[first] if name in table[other]]
        found = {name: paired(table[first][name], table[other][name], results) for name in shared}
        print(
            f"\n{first} less {other}:\n\n| set | difference | standard error | |\n|---|---|---|---|"
        )
        for name, estimate in found.items():
            worse = "**below**" if estimate.mean < -estimate.standard_error else ""
            print(f"| {name} | {estimate.mean:+.3f} | {estimate.standard_error:.3f} | {worse} |")
        if len({sources[name] for name in shared}) > 1:
            mean = over_sets({name: each.mean for name, each in found.items()}, sources)
            low, high = mean.interval
            name = f"**mean of {len(shared)} sets**"
            print(f"| {name} | {mean.mean:+.3f} | {low:+.3f} to {high:+.3f} | |")
