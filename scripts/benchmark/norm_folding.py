"""Of which of timm's networks are all batch norms folded, and how much do the outputs change?

One network for each module of timm that has batch norms, the one with the fewest parameters, at 64
pixels where it takes them. Weights, scales and shifts are random, running statistics those of
passes in training mode. Results are kept in runs/benchmark/norm_folding.jsonl, so that the script
goes on where it stopped; delete the file when timm or the edit has changed. Takes 10 minutes.

Run: python scripts/benchmark/norm_folding.py [FAMILY ...]
"""

import logging
import sys
import warnings

import timm
import torch
from fits import quiet
from results import FOLDER, Row, kept
from torch import nn

from tltool.features.cut_survey import smallest_backbone
from tltool.models.timm_catalog import smallest_of_each_family
from tltool.surgery.norm_folding import fold_norms
from tltool.surgery.norm_kinds import batch_norms

NUM_PASSES = 3


def main() -> None:
    """Print a row for each module of timm that has batch norms, and how many are folded whole."""
    families = smallest_of_each_family()
    rows = [row_of(family, families[family]) for family in sys.argv[1:] or families]
    rows = [row for row in rows if row["num_norms"]]
    print("| module of timm | network | px | batch norms | folded | difference | kept |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['family']} | {row['name']} | {row['img_size']} | {row['num_norms']} "
            f"| {row['num_folded']} | {row['difference']:.0e} | {row['kept']} |"
        )
    number = sum(row["num_folded"] == row["num_norms"] for row in rows)
    print(f"\nAll batch norms are folded in {number} of {len(rows)}.")


def row_of(family: str, name: str) -> Row:
    """Return the result of a network, from the file if it is there."""

    def compute() -> Row:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")  # Of networks that are old, or large.
            logging.disable()
            return measure(name)

    key = {"name": name, "timm": timm.__version__}
    return {"family": family, "name": name, **kept(FOLDER / "norm_folding.jsonl", key, compute)}


@torch.no_grad()
def measure(name: str) -> Row:
    """Fold a network, and compare its outputs on 4 images with those of before."""
    torch.manual_seed(0)
    backbone = smallest_backbone(name, (64, 112, 128, 224, None))
    size, norms = backbone.data_config["input_size"], [p.module for p in batch_norms(backbone)]
    row: Row = {"img_size": size[1], "num_norms": len(norms)}
    if not norms:
        return row
    for norm in norms:
        if isinstance(norm.weight, nn.Parameter) and isinstance(norm.bias, nn.Parameter):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
    for _ in range(NUM_PASSES):
        backbone.train()(torch.randn(4, *size))
    images = torch.randn(4, *size)
    before = backbone.eval()(images)
    try:
        report = fold_norms(backbone.model, example=images[:1])
    except ValueError as error:  # None of them can be folded.
        return {**row, "num_folded": 0, "difference": 0.0, "kept": str(error)}
    difference = float((backbone(images) - before).norm() / before.norm())
    kept_names = "; ".join(dict.fromkeys(report.kept.values()))
    return {**row, "num_folded": report.num_folded, "difference": difference, "kept": kept_names}


if __name__ == "__main__":
    main()
