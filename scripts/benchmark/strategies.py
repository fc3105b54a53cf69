"""Which fine-tuning strategy? Accuracy, spread, minutes and trained parameters of each.

EfficientNet-Lite0 at 128 px, AdamW, batch 32, 6 epochs, 3 seeds. Each strategy gets the learning
rate with the least loss on images that are not those of the result, of a grid. Results are
kept in runs/benchmark/strategies.jsonl, and a later call goes on there.

Run: python scripts/benchmark/strategies.py elpv FOLDER [--only NAME ...]
"""

import argparse
from functools import partial
from pathlib import Path

from fits import best_lr, fit
from results import FOLDER, SEEDS, kept, mean_and_spread

from tltool.finetuning import strategies

LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
PROBE_LRS = (*LRS[1:], 3e-2)  # A head alone stands more.
STRATEGIES: dict[str, strategies.FinetuningStrategy] = {
    "LinearProbe": strategies.LinearProbe(),
    "LastBlocks(1)": strategies.LastBlocks(1),
    "FullFinetuning": strategies.FullFinetuning(),
    "LPFT": strategies.LPFT(),
    "GradualUnfreezing": strategies.GradualUnfreezing(),
    "LayerwiseDecay": strategies.LayerwiseDecay(),
    "BatchNormOnly": strategies.BatchNormOnly(),
    "BitFit": strategies.BitFit(),
}


def main() -> None:
    """Print a table row for each strategy and data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="+", help="elpv, or a folder with train and val")
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    args = parser.parse_args()
    print("| data | strategy | lr | accuracy | CPU minutes | trained at the end |")
    print("|---|---|---|---|---|---|")
    for name in args.only:
        for data_name in args.data:
            print(row(data_name, name), flush=True)


def row(data_name: str, name: str) -> str:
    """Return the table row of a strategy, from what is kept or from new fits."""
    file = FOLDER / "strategies.jsonl"
    key = {"data": Path(data_name).name, "strategy": name}
    run = partial(fit, data_name, STRATEGIES[name])
    choose = partial(run, seed=0, choosing=True)
    lrs = PROBE_LRS if name == "LinearProbe" else LRS
    lr, is_edge = best_lr(file, {**key, "choosing": True}, lrs, lambda lr: choose(lr=lr))
    results = [
        kept(
            file,
            {**key, "lr": lr, "seed": seed},
            partial(run, lr=lr, seed=seed, choosing=False),
        )
        for seed in SEEDS
    ]
    accuracy = mean_and_spread([result["accuracy"] for result in results])
    minutes = sum(result["minutes"] for result in results) / len(results)
    edge = " (edge)" if is_edge else ""
    return (
        f"| {key['data']} | {name} | {lr:g}{edge} | {accuracy} | {minutes:.1f} "
        f"| {results[0]['trainable']:,} |"
    )


if __name__ == "__main__":
    main()
