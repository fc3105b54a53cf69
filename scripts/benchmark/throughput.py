"""Images a second: fine-tuning everything beside a bare loop, and decoding beside torchvision.

EfficientNet-Lite0 on a folder with `train` and `val`, batch 32; three rounds in turn, and the
median of their ratios. *fit* is `tltool fit` with all its callbacks, one epoch; *loop* the same
loader, network, memory format and optimizer without Lightning. *images* is tltool's loader alone,
*image_folder* torchvision's data set with timm's evaluation transform, with as many workers. Steps
are timed from the end of the first.

Run: python scripts/benchmark/throughput.py FOLDER
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from rounds import in_turn, median_ratio
from timm.data import create_transform
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from watched_fit import BatchClock, watched_fit

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.models.backbone import Backbone

BATCH, WORKERS = 32, 1


def rate(ends: list[tuple[float, int]]) -> float:
    """Return images a second, from the end of the first batch on."""
    return sum(number for _, number in ends[1:]) / (ends[-1][0] - ends[0][0])


def fit(folder: str) -> float:
    """Return the rate of an epoch of ``tltool fit``."""
    clock = BatchClock()
    options = ["--data.root", folder, "--finetuning", "FullFinetuning", "--trainer.max_epochs", "1"]
    options += ["--data.batch_size", str(BATCH), "--data.num_workers", str(WORKERS)]
    watched_fit(options, clock)
    return rate(clock.ends)


def loop(folder: str) -> float:
    """Return the rate of an epoch of a loop over the same batches."""
    seed_everything(0, verbose=False)
    backbone = Backbone("tf_efficientnet_lite0").train()
    head = nn.Linear(backbone.num_features, 2)
    data = loader(folder, backbone)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=1e-3)
    ends = []
    for batch in data:
        optimizer.zero_grad()
        functional.cross_entropy(head(backbone(batch["images"])), batch["labels"]).backward()
        optimizer.step()
        ends.append((time.perf_counter(), len(batch["labels"])))
    return rate(ends)


def images(folder: str) -> float:
    """Return the rate of the loader alone."""
    batches: Iterable[Any] = loader(folder, Backbone("tf_efficientnet_lite0", weights="random"))
    return rate([(time.perf_counter(), len(batch["labels"])) for batch in batches])


def image_folder(folder: str) -> float:
    """Return the rate of torchvision's data set with timm's transform."""
    config = Backbone("tf_efficientnet_lite0", weights="random").data_config
    dataset = ImageFolder(str(Path(folder, "train")), create_transform(**config))
    batches = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS)
    return rate([(time.perf_counter(), len(labels)) for _, labels in batches])


def loader(folder: str, backbone: Backbone) -> Iterable[Any]:
    """Return tltool's loader of the training images."""
    return ImageFolderDataModule(
        folder, batch_size=BATCH, num_workers=WORKERS, data_config=backbone.data_config
    ).train_dataloader()


def main() -> None:
    """Print a table of both pairs."""
    folder = sys.argv[1]
    pairs: list[tuple[Callable[[str], float], Callable[[str], float]]] = [
        (fit, loop),
        (images, image_folder),
    ]
    print("| what | images a second | beside | images a second | ratio |")
    print("|---|---|---|---|---|")
    for own, other in pairs:
        measures = {each.__name__: partial(each, folder) for each in (own, other)}
        rates, beside = in_turn(measures).values()
        medians = statistics.median(rates), statistics.median(beside)
        print(
            f"| {own.__name__} | {medians[0]:.1f} | {other.__name__} | {medians[1]:.1f} "
            f"| {median_ratio(rates, beside):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
