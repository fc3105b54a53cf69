"""Results of transfer.py: one JSON file for each cell, keyed by a fingerprint of its images."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import torch
from results import Row
from torch import Tensor
from transfer_methods import OTHERS, PROBES, Cell

from tltool._atomic_write import whole_file
from tltool.evaluation.paired_differences import MeanEstimate, estimate_mean

Results = Mapping[Cell, Row]


def path_of(cell: Cell, fingerprint: str, folder: Path) -> Path:
    """Return where the result of a cell is kept: elsewhere once an image has changed."""
    method = quote(cell.method, safe="+=,[]")
    name = f"{method}-{cell.backbone}-{cell.img_size}-{cell.seed}.json"
    return folder / f"{cell.image_set}-{fingerprint}" / name


def load_results(cells: Iterable[Cell], fingerprints: Mapping[str, str], folder: Path) -> Results:
    """Return the results that are there."""
    paths = {cell: path_of(cell, fingerprints[cell.image_set], folder) for cell in cells}
    return {cell: json.loads(path.read_text()) for cell, path in paths.items() if path.is_file()}


def kept_result(path: Path, compute: Callable[[], Row]) -> Row:
    """Return the result in a file; if there is none, compute it and write it as a whole."""
    if path.is_file():
        found: Row = json.loads(path.read_text())
        return found
    result = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(result))
    return result


def minutes_left(todo: Sequence[Cell], done: Results) -> float | None:
    """Return about how long some cells take: as long as others of their method, else as all did.

    Returns:
        ``None`` before the first result.
    """
    if not done:
        return None

    def mean(cells: Sequence[Cell]) -> float:
        return sum(done[cell]["minutes"] for cell in cells) / len(cells)

    same = {cell: [other for other in done if other.base == cell.base] for cell in todo}
    return sum(mean(same[cell] or list(done)) for cell in todo)


def correct_of(row: Row) -> Tensor:
    """Return 1 for each image that is right and 0 for the others, ``(N,)``.

    They are those of the last epoch, which nothing chose; of the best checkpoint of `Auto`, which
    chooses on images that it carves out of the training images, or nothing.
    """
    return torch.tensor([int(each) for each in row["correct"][row.get("counts", "last")]])


def paired(first: Sequence[Cell], second: Sequence[Cell], results: Results) -> MeanEstimate:
    """Return how much more accurate one method is than another, on one set, at the same seeds.

    Args:
        first: The cells of one method.
        second: Those of the other; one of a probe stands for every seed.
        results: Of all cells.

    Raises:
        ValueError: If they share no seed.
    """
    by_seed = {cell.seed: cell for cell in second}
    if second[0].base in PROBES:
        by_seed = dict.fromkeys((cell.seed for cell in first), second[0])
    pairs = [(cell, by_seed[cell.seed]) for cell in first if cell.seed in by_seed]
    if not pairs:
        raise ValueError(f"{first[0].method} and {second[0].method} share no seed.")
    differences = [correct_of(results[one]) - correct_of(results[two]) for one, two in pairs]
    return estimate_mean(torch.stack(differences))


def over_sets(differences: Mapping[str, float], sources: Mapping[str, str]) -> MeanEstimate:
    """Return the mean of differences over sets, for other sets; those of one source are alike."""
    groups = [sources[name] for name in differences]
    numbers = [groups.index(group) for group in groups]
    return estimate_mean(torch.tensor([list(differences.values())]), numbers)


def versions(results: Results) -> str:
    """Return which commits and versions of other tools results are of."""
    named = [row["commit"] for row in results.values()]
    for cell, row in results.items():
        if cell.base in OTHERS:
            named += [f"{package} {number}" for package, number in row["versions"].items()]
    return ", ".join(dict.fromkeys(named))
