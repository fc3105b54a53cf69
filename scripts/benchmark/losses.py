"""What do class weights, label smoothing and a log-prior start bring to a linear head?

On features of EfficientNet-Lite0, standardized; AdamW, batch 32, 10 epochs, 3 seeds; the lr with
the best score without any of them on the validation images, of a grid with steps of a factor of 3.

Run: python scripts/benchmark/losses.py elpv elpv-probability FOLDER ...
"""

import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from features import Features, features_of
from results import SEEDS, mean_and_spread
from torch import Tensor
from torch.nn import functional

from tltool.data.datamodules.class_weights import class_weights
from tltool.layers.fitted_norms import FittedNorm
from tltool.layers.log_prior import init_log_prior_
from tltool.models.heads import Head
from tltool.models.label_loss import label_loss

CHOICES: dict[str, dict[str, Any]] = {
    "none": {},
    "class_weights balanced": {"weights": "balanced"},
    "class_weights effective_number": {"weights": "effective_number"},
    "label_smoothing 0.1": {"smoothing": 0.1},
    "log_prior": {"log_prior": True},
}
LRS = (1e-4, 3e-4, 1e-3, 3e-3)
EPOCHS = 10


class Scores(NamedTuple):
    """What a head achieves, and where it started."""

    first_loss: float
    loss_after_one: float
    accuracy: float
    macro_accuracy: float
    loss: float


def train(
    features: Features,
    split: str,
    *,
    lr: float,
    seed: int,
    weights: Any = None,
    smoothing: float = 0.0,
    log_prior: bool = False,
) -> Scores:
    """Return the scores of a head on one split."""
    torch.manual_seed(seed)
    x, y = features["train"]
    num_classes = int(y.max()) + 1
    counts = y.bincount().tolist()
    head = Head(x.shape[1], num_classes, input_norm="standardize")
    assert isinstance(head.input_norm, FittedNorm)  # noqa: S101  # that is what `standardize` is
    head.input_norm.fit_(x)
    if log_prior:
        init_log_prior_(head.output, counts)
    names = [str(label) for label in range(num_classes)]
    weight = torch.tensor(class_weights(weights, counts, names)) if weights else None
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.05)
    losses = [evaluate(head, x, y)[0]]
    for _ in range(EPOCHS):
        head.train()
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            label_loss(
                head(x[rows]), y[rows], class_weights=weight, label_smoothing=smoothing
            ).backward()
            optimizer.step()
        losses.append(evaluate(head, x, y)[0])
    loss, accuracy, macro = evaluate(head, *features[split])
    return Scores(losses[0], losses[1], accuracy, macro, loss)


@torch.no_grad()
def evaluate(head: Head, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Return loss, accuracy, and the mean of the classes' accuracies."""
    logits = head.eval()(x)
    right = (logits.argmax(1) == y).double()
    classes = [right[y == label].mean().item() for label in y.unique()]
    loss = float(functional.cross_entropy(logits, y))
    return loss, right.mean().item(), statistics.mean(classes)


def main() -> None:
    """Print a table row for each data set and choice."""
    torch.set_num_threads(1)  # The matrices are small: more threads only wait for each other.
    fields = [field.replace("_", " ") for field in Scores._fields]
    print(f"| data | choice | lr | {' | '.join(fields)} |")
    print("|---|---|---|" + "---|" * len(fields))
    for data_name in sys.argv[1:]:
        features = features_of(data_name)
        # Without a test split there is nothing left to choose on: the default lr.
        lr = 1e-3
        if "test" in features:
            lr = max(LRS, key=lambda lr: train(features, "val", lr=lr, seed=0).accuracy)
        split = "test" if "test" in features else "val"
        for name, options in CHOICES.items():
            runs = [train(features, split, lr=lr, seed=seed, **options) for seed in SEEDS]
            shown = [mean_and_spread(scores) for scores in zip(*runs, strict=True)]
            print(f"| {Path(data_name).name} | {name} | {lr:g} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
