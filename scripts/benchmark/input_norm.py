"""What does a norm in front of the head bring? Epochs to a fixed training loss, and accuracy.

A linear head on features of EfficientNet-Lite0, batch 32, constant lr, 3 seeds; for each norm and
optimizer the lr with the fewest epochs, of a grid with steps of a factor of 10.

Run: python scripts/benchmark/input_norm.py elpv FOLDER ...
"""

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from features import Features, features_of
from results import SEEDS, mean_and_spread
from torch import Tensor
from torch.nn import functional

from tltool.layers.fitted_norms import FittedNorm
from tltool.models.heads import Head

NORMS = (None, "center", "standardize", "batch", "l2", "whiten")
OPTIMIZERS: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    "SGD": (torch.optim.SGD, (1e-3, 1e-2, 1e-1, 1.0, 10.0)),
    "AdamW": (torch.optim.AdamW, (1e-4, 1e-3, 1e-2, 1e-1)),
}
MAX_EPOCHS = 30
BATCH = 32


def train(
    features: Features, norm: str | None, make: Callable[..., Any], seed: int, target: float
) -> tuple[int, float]:
    """Return the epochs to a training loss of ``target``, and the accuracy then."""
    torch.manual_seed(seed)
    x, y = features["train"]
    evaluated = features.get("test", features["val"])
    head = Head(x.shape[1], int(y.max()) + 1, input_norm=norm)
    if isinstance(head.input_norm, FittedNorm):
        head.input_norm.fit_(x)
    optimizer = make([p for p in head.parameters() if p.requires_grad])
    for epoch in range(1, MAX_EPOCHS + 1):
        head.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(head(x[rows]), y[rows]).backward()
            optimizer.step()
        if evaluate(head, x, y)[0] <= target:
            return epoch, evaluate(head, *evaluated)[1]
    return MAX_EPOCHS + 1, evaluate(head, *evaluated)[1]


@torch.no_grad()
def evaluate(head: Head, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return loss and accuracy."""
    logits = head.eval()(x)
    return float(functional.cross_entropy(logits, y)), float((logits.argmax(1) == y).float().mean())


def main() -> None:
    """Print a table row for each norm and optimizer."""
    torch.set_num_threads(1)  # The matrices are small: more threads only wait for each other.
    print("| data | optimizer | input norm | lr | epochs | accuracy |")
    print("|---|---|---|---|---|---|")
    for data_name in sys.argv[1:]:
        features = features_of(data_name)
        target = 0.3 if data_name == "elpv" else 0.01
        for optimizer, (make, lrs) in OPTIMIZERS.items():
            for norm in NORMS:
                runs = {
                    lr: [
                        train(features, norm, partial(make, lr=lr), seed, target) for seed in SEEDS
                    ]
                    for lr in lrs
                }
                lr = min(runs, key=lambda r: statistics.mean(e for e, _ in runs[r]))
                epochs, scores = zip(*runs[lr], strict=True)
                if max(epochs) > MAX_EPOCHS:  # The lr would be that of a tie: it means nothing.
                    print(f"| {data_name} | {optimizer} | {norm} | none | > {MAX_EPOCHS} | - |")
                    continue
                shown = f"{statistics.mean(epochs):.1f}"
                print(
                    f"| {data_name} | {optimizer} | {norm} | {lr:g} | {shown} "
                    f"| {mean_and_spread(scores)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
