"""What do the activation, the norm and the initializer of a head bring? Accuracy of each.

Heads of one and of four hidden layers of width 256 on standardized features of EfficientNet-Lite0;
AdamW, batch 32, 10 epochs, 3 seeds. Each has its own lr, of a grid with steps of about a factor
of 3: the one with the least loss on a fifth of the training images, held out for that. Results are
kept in runs/benchmark/heads.jsonl, and a later call goes on there.

Run: python scripts/benchmark/heads.py elpv FOLDER ...
"""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from features import Features, features_of
from results import FOLDER, SEEDS, Row, kept, mean_and_spread
from torch import Tensor
from torch.nn import functional

from tltool.layers.activations import ACTIVATIONS
from tltool.layers.fitted_norms import FittedNorm
from tltool.models.heads import Head

CHOICES: dict[str, dict[str, Any]] = {
    **{name: {"activation": name} for name in ACTIVATIONS if name != "swish"},  # It is silu.
    "prelu, one slope per channel": {"activation": {"name": "prelu", "per_channel": True}},
    **{f"relu, {norm} norm": {"norm": norm} for norm in ("batch", "layer", "group", "rms")},
    "relu, batch norm behind it": {"norm": "batch", "norm_position": "after"},
    "selu, batch norm": {"activation": "selu", "norm": "batch"},
    "sigmoid, batch norm": {"activation": "sigmoid", "norm": "batch"},
    "relu, bias 0.01": {"bias": 0.01},
    **{
        f"{activation}, {name}": {"activation": activation, "initializer": initializer}
        for activation in ("relu", "tanh")
        for name, initializer in {
            "zeros": "zeros",
            "constant 0.01": {"name": "constant", "value": 0.01},
            "normal 0.01": {"name": "normal", "std": 0.01},
            "normal 1": {"name": "normal", "std": 1.0},
            "uniform 0.05": {"name": "uniform", "low": -0.05, "high": 0.05},
            "trunc_normal 0.02": {"name": "trunc_normal", "std": 0.02},
            "xavier_normal": "xavier_normal",
            "xavier_uniform": "xavier_uniform",
            "kaiming_normal": "kaiming_normal",
            "kaiming_uniform": "kaiming_uniform",
            "lecun_normal": "lecun_normal",
            "lecun_uniform": "lecun_uniform",
            "orthogonal": "orthogonal",
        }.items()
    },
}
DEPTHS = (1, 4)
LRS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
EPOCHS = 10


def train(
    features: Features, options: dict[str, Any], *, depth: int, lr: float, seed: int, choosing: bool
) -> Row:
    """Return loss and accuracy of a head: on held-out training images, or on those for testing."""
    torch.manual_seed(0)
    x, y = features["train"]
    tests = features.get("test", features["val"])
    if choosing:
        order = torch.randperm(len(x))
        held_out, rest = order[: len(x) // 5], order[len(x) // 5 :]
        tests = x[held_out], y[held_out]
        x, y = x[rest], y[rest]
    torch.manual_seed(seed)
    num_classes = int(features["train"][1].max()) + 1
    widths = [256] * depth
    head = Head(
        x.shape[1], num_classes, hidden_features=widths, input_norm="standardize", **options
    )
    assert isinstance(head.input_norm, FittedNorm)  # noqa: S101  # that is what `standardize` is
    head.input_norm.fit_(x)
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.05)
    for _ in range(EPOCHS):
        head.train()
        for rows in torch.randperm(len(x)).split(32):
            if len(rows) < 2:
                continue  # Batch norm cannot train on one.
            optimizer.zero_grad()
            functional.cross_entropy(head(x[rows]), y[rows]).backward()
            optimizer.step()
    loss, accuracy = evaluate(head, *tests)
    return {"loss": loss, "accuracy": accuracy}


@torch.no_grad()
def evaluate(head: Head, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return loss and accuracy."""
    logits = head.eval()(x)
    return float(functional.cross_entropy(logits, y)), float((logits.argmax(1) == y).float().mean())


def cell(data_name: str, name: str, depth: int) -> str:
    """Return accuracy, spread and learning rate, from what is kept or from new trainings."""

    def result(lr: float, seed: int, *, choosing: bool) -> Row:
        choice = {"lr": lr, "seed": seed, "choosing": choosing}
        key = {"data": Path(data_name).name, "head": name, "depth": depth, **choice}
        run = partial(train, features_of(data_name), CHOICES[name], depth=depth)
        return kept(FOLDER / "heads.jsonl", key, lambda: run(lr=lr, seed=seed, choosing=choosing))

    losses = {lr: result(lr, 0, choosing=True)["loss"] for lr in LRS}
    best_lr = min(losses, key=losses.__getitem__)
    scores = [result(best_lr, seed, choosing=False)["accuracy"] for seed in SEEDS]
    edge = " edge" if best_lr in {LRS[0], LRS[-1]} else ""
    return f"{mean_and_spread(scores)} ({best_lr:g}{edge})"


def main() -> None:
    """Print a table row for each head."""
    torch.set_num_threads(1)  # The matrices are small: more threads only wait for each other.
    logging.getLogger("tltool").setLevel(logging.ERROR)  # Heads that defeat themselves are meant.
    columns = [(data_name, depth) for data_name in sys.argv[1:] for depth in DEPTHS]
    titles = [f"{Path(data_name).name}, depth {depth}" for data_name, depth in columns]
    print(f"| head | {' | '.join(titles)} |")
    print("|---|" + "---|" * len(titles))
    for name in CHOICES:
        cells = [cell(data_name, name, depth) for data_name, depth in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
