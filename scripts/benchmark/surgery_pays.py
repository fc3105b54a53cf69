"""Does surgery pay? Edits of a backbone, naive and matched, before and after fine-tuning.

Each edit is measured twice on each set of transfer.py: after 0 epochs, by a closed-form probe, and
after the default recipe of `tltool fit`. Both are compared with the backbone without edits, paired
over images and seeds. Cells are kept as transfer.py keeps them, in a folder of their own (so that
all are of one version), and a later call resumes there; to measure a cell again, delete its file.

Run: python scripts/benchmark/surgery_pays.py run --folders hymenoptera=DIR brain_mri=DIR
     python scripts/benchmark/surgery_pays.py run --edits none gelu "gelu matched" --seeds 0
     python scripts/benchmark/surgery_pays.py print
"""

import sys
from collections.abc import Mapping, Sequence

import torch
from image_sets import fingerprint
from results import FOLDER
from transfer import folders_of, make_parser, measure_all
from transfer_methods import FIT, Cell, seeds_of
from transfer_results import Results, correct_of, load_results, paired, versions

from tltool.evaluation.paired_differences import MeanEstimate, estimate_mean

RESULTS = FOLDER / "surgery"
SETS = ["hymenoptera", "brain_mri"]
NONE = "none"
ACTIVATIONS = ("gelu", "silu", "elu")
EDITS = {
    NONE: "",
    **{name: f"{{swap_activations: {{to: {name}}}}}" for name in ACTIVATIONS},
    "group norm": "{replace_norms: {to: group, match: none}}",
    **{
        f"{name} matched": f"{{swap_activations: {{to: {name}, match: moments}}}}"
        for name in ACTIVATIONS
    },
    "group norm matched": "{replace_norms: {to: group, match: moments}}",
}
"""Each edit as YAML, by the name that the tables give it."""
STAGES = {"probe": "After 0 epochs, a closed-form probe", FIT: "After `tltool fit`"}


def main() -> int:
    """Measure what is missing, or print what is there."""
    parser = make_parser()
    parser.set_defaults(sets=SETS, seeds=[0, 1])
    parser.add_argument("verb", choices=("run", "print"), help="results or tables")
    parser.add_argument("--edits", nargs="+", choices=EDITS, default=list(EDITS))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    args = parser.parse_args()
    folders = folders_of(args)
    fingerprints = {name: fingerprint(folder) for name, folder in folders.items()}
    cells = {
        (stage, edit, name): [
            Cell(name, method_of(stage, edit), seed, args.backbone, args.img_size)
            for seed in seeds_of(stage, args.seeds)
        ]
        for stage in args.stages
        for edit in args.edits
        for name in folders
    }
    every = [cell for group in cells.values() for cell in group]
    failed = []
    if args.verb == "run":
        failed = measure_all(every, folders, fingerprints, RESULTS)
    results = load_results(every, fingerprints, RESULTS)
    for stage in args.stages:
        print(f"\n{STAGES[stage]}; difference to no edit, * where its 95 % interval is beyond 0:\n")
        print_table(stage, args.edits, args.sets, cells, results)
    print(f"\n+-: standard error. Measured with {versions(results)}.")
    return 1 if failed else 0


def method_of(stage: str, edit: str) -> str:
    """Return the method of a cell, as transfer.py writes it.

    Example:
        >>> method_of("probe", "gelu")
        'probe+model.backbone.surgery=[{swap_activations: {to: gelu}}]'
    """
    return f"{stage}+model.backbone.surgery=[{EDITS[edit]}]" if EDITS[edit] else stage


def print_table(
    stage: str,
    edits: Sequence[str],
    sets: Sequence[str],
    cells: Mapping[tuple[str, str, str], Sequence[Cell]],
    results: Results,
) -> None:
    """Print accuracies and differences of one stage, a row for each edit."""
    print("| edit |", " | ".join(f"{name} | difference" for name in sets), "|")
    print("|---|" + "---|" * 2 * len(sets))
    for edit in edits:
        row = []
        for name in sets:
            found, without = (
                [cell for cell in cells.get((stage, each, name), ()) if cell in results]
                for each in (edit, NONE)
            )
            row += [_accuracy(found, results), _difference(edit, found, without, results)]
        print(f"| {edit} |", " | ".join(row), "|")


def _accuracy(cells: Sequence[Cell], results: Results) -> str:
    if not cells:
        return "-"
    estimate = estimate_mean(torch.stack([correct_of(results[cell]) for cell in cells]))
    return f"{estimate.mean:.3f} +- {estimate.standard_error:.3f}"


def _difference(edit: str, cells: Sequence[Cell], without: Sequence[Cell], results: Results) -> str:
    if edit == NONE or not {cell.seed for cell in cells} & {cell.seed for cell in without}:
        return "-"
    estimate: MeanEstimate = paired(cells, without, results)
    low, high = estimate.interval
    mark = " *" if low > 0 or high < 0 else ""
    return f"{estimate.mean:+.3f} +- {estimate.standard_error:.3f}{mark}"


if __name__ == "__main__":
    sys.exit(main())
