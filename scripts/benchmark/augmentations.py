"""What do augmentations bring? Accuracy of each, when the last block trains.

EfficientNet-Lite0 at 128 px, LastBlocks(1), AdamW with lr 1e-3, batch 32, 6 epochs, 3 seeds.
Results are kept in runs/benchmark/augmentations.jsonl, and a later call goes on there.

Run: python scripts/benchmark/augmentations.py elpv FOLDER
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from fits import fit
from results import FOLDER, SEEDS, kept, mean_and_spread

from tltool.finetuning.strategies import LastBlocks

NAMES = ("flip", "flip_both", "crop", "color_jitter", "trivial_augment", "rand_augment")
CHOICES: dict[str, dict[str, Any]] = {
    "none": {},
    **{name: {"augmentation": name} for name in NAMES},
    "random_erasing 0.25": {"random_erasing": 0.25},
    "mixup 0.2": {"mixup": 0.2},
    "cutmix 1": {"cutmix": 1.0},
}


def main() -> None:
    """Print a table row for each augmentation and data set."""
    print("| data | augmentation | accuracy | loss |")
    print("|---|---|---|---|")
    for name, options in CHOICES.items():
        for data_name in sys.argv[1:]:
            print(row(data_name, name, options), flush=True)


def row(data_name: str, name: str, options: dict[str, Any]) -> str:
    """Return a table row, from what is kept or from new fits."""
    data = Path(data_name).name
    run = partial(fit, data_name, LastBlocks(1), lr=1e-3, choosing=False)
    results = [
        kept(
            FOLDER / "augmentations.jsonl",
            {"data": data, "augmentation": name, "seed": seed},
            partial(run, seed=seed, **options),
        )
        for seed in SEEDS
    ]
    accuracy, loss = (
        mean_and_spread([result[score] for result in results]) for score in ("accuracy", "loss")
    )
    return f"| {data} | {name} | {accuracy} | {loss} |"


if __name__ == "__main__":
    main()
