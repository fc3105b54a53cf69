"""Where a class is rare: nothing, class weights or class-balanced sampling?

A folder with train and val; of the first class only some training images are left, so that it has
a tenth of the others' or less. Each fit is a process of its own; macro F1 and accuracy are those of
the last epoch, on validation images that chose nothing. Results are kept in runs/benchmark.

Run: python scripts/benchmark/class_balance.py FOLDER [--keep 12] [--strategies LinearProbe]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from results import FOLDER, SEEDS, Row, kept, mean_and_spread

from tltool.reporting.run_record import read_run

CHOICES = {
    "nothing": [],
    "class weights": ["--model.class_weights=balanced"],
    "class-balanced sampling": ["--data.sampling=class_balanced"],
}
METRICS = ("val/f1", "val/accuracy")


def thinned(folder: Path, number: int) -> Path:
    """Return a folder with so many training images of the first class, and all others; links."""
    place = FOLDER / "class_balance" / f"{folder.name}_{number}"
    shutil.rmtree(place, ignore_errors=True)
    classes = sorted(path.name for path in (folder / "train").iterdir())
    for path in sorted(folder.glob("*/*/*")):
        split, label = path.parts[-3:-1]
        target = place / split / label
        target.mkdir(parents=True, exist_ok=True)
        is_full = len(list(target.iterdir())) >= number
        if not (split == "train" and label == classes[0] and is_full):
            (target / path.name).symlink_to(path.resolve())
    return place


def measured(folder: Path, flags: list[str], seed: int) -> Row:
    """Return the metrics of a fit, kept or computed now."""
    key = {"data": folder.name, "flags": flags, "seed": seed}
    given = [f"--data.root={folder.absolute()}", f"--seed_everything={seed}", *flags]
    return kept(FOLDER / "class_balance.jsonl", key, lambda: measure(given))


def measure(flags: list[str]) -> Row:
    """Return the metrics of the last epoch of a fit."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "tltool", "fit", *flags, f"--runs_dir={scratch}"]
        subprocess.run([*command, "--name=run"], check=True, capture_output=True)
        metrics = read_run(Path(scratch) / "run" / "0").metrics
        return {name: metrics[name][-1][1] for name in METRICS}


def main() -> None:
    """Print a table row for each strategy and choice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=int, default=12, help="training images of the first class")
    parser.add_argument("--strategies", nargs="+", default=["LinearProbe", "LastBlocks"])
    parser.add_argument("--img_size", type=int, default=160)
    args = parser.parse_args()
    place = thinned(args.folder, args.keep)
    print(f"| strategy | choice | {' | '.join(METRICS)} |")
    print("|---|---|" + "---|" * len(METRICS))
    for strategy in args.strategies:
        for choice, flags in CHOICES.items():
            common = [f"--finetuning={strategy}", f"--model.backbone.img_size={args.img_size}"]
            runs = [measured(place, [*common, *flags], seed) for seed in SEEDS]
            shown = [mean_and_spread([run[name] for run in runs]) for name in METRICS]
            print(f"| {strategy} | {choice} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
