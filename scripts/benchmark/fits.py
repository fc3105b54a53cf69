"""Small fits for the benchmarks."""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from results import Row, kept
from torch import nn

from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.stratified_split import split_stratified
from tltool.data.loading.samples import Splits
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

IMG_SIZE = 128
NUM_ELPV = 600


def splits_of(data_name: str, *, choosing: bool) -> Splits:
    """Return the images to train and to test on, as ``train`` and ``test``.

    The solar cells: 600 training images. Another data set: its training and validation images.

    Args:
        data_name: ``elpv``, or a folder of images with ``train`` and ``val``.
        choosing: For the choice of a learning rate: tests on images that are not those of the
            result. These are the validation images of the solar cells, and a fifth of the other
            data set's training images.
    """
    if data_name == "elpv":
        cells = ELPVDataModule()
        train = cells.samples("train")
        share = {"kept": NUM_ELPV / len(train)}
        chosen = split_stratified(train.paths, train.labels or [], share, seed=0)["kept"]
        return Splits(train=train.subset(chosen), test=cells.samples("val" if choosing else "test"))
    data = ImageFolderDataModule(data_name)
    train = data.samples("train")
    if not choosing:
        return Splits(train=train, test=data.samples("val"))
    names = [Path(path).name for path in train.paths]
    splits = split_stratified(names, train.labels or [], {"test": 0.2}, seed=0)
    return Splits(**{split: train.subset(indices) for split, indices in splits.items()})


def data_of(data_name: str, **data_options: Any) -> ImageDataModule:
    """Return the data module of ``elpv`` or of a folder of images."""
    make = ELPVDataModule if data_name == "elpv" else partial(ImageFolderDataModule, data_name)
    data: ImageDataModule = make(num_workers=0, **data_options)
    return data


def fine_tune(
    make_backbone: Callable[[], Backbone],
    data_name: str,
    strategy: FinetuningStrategy,
    *,
    lr: float,
    seed: int,
    choosing: bool,
    epochs: int,
) -> Row:
    """Fine-tune any backbone with a linear head: AdamW, batch 32, on one thread.

    Args:
        make_backbone: Called after the seed is set.
        data_name: See `splits_of`.
        strategy: What trains when.
        lr: Learning rate of AdamW.
        seed: Seed of head, order and augmentation.
        choosing: See `splits_of`.
        epochs: Number of epochs.
    """

    def make_data(data_config: dict[str, Any]) -> ImageDataModule:
        data = data_of(data_name, data_config=data_config)
        data.splits = splits_of(data_name, choosing=choosing)
        return data

    return fit_on(make_backbone, make_data, strategy, lr=lr, seed=seed, epochs=epochs)


def fit_on(
    make_backbone: Callable[[], Backbone],
    make_data: Callable[[dict[str, Any]], ImageDataModule],
    strategy: FinetuningStrategy,
    *,
    lr: float,
    seed: int,
    epochs: int,
) -> Row:
    """Fine-tune any backbone on any data with a linear head.

    Args:
        make_backbone: Called after the seed is set.
        make_data: Makes the data from the backbone's preprocessing; its ``train`` split trains and
            its ``test`` split gives the result.
        strategy: What trains when.
        lr: Learning rate of AdamW.
        seed: Seed of head, order and augmentation.
        epochs: Number of epochs.
    """
    torch.set_num_threads(1)
    seed_everything(seed, verbose=False)
    backbone = make_backbone()
    data = make_data(backbone.data_config)
    task = ImageTask(
        backbone,
        Head,
        num_classes=data.num_classes,
        optimizer=partial(torch.optim.AdamW, lr=lr, weight_decay=0.05),
    )
    finetuning = Finetuning(strategy)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[finetuning],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    start = _cpu_seconds()
    with quiet():
        trainer.fit(task, data.train_dataloader())
    seconds = _cpu_seconds() - start
    with quiet():
        scores = trainer.test(task, data.test_dataloader(), verbose=False)[0]
    return {
        "accuracy": scores["test/accuracy"],
        "loss": scores["test/loss"],
        "minutes": seconds / 60,
        "trainable": _trained_at_the_end(task),
    }


def best_lr(
    file: Path, key: Row, lrs: Iterable[float], fit_at: Callable[[float], Row]
) -> tuple[float, bool]:
    """Return the lr with the least loss on the images that choose, and whether it is an edge."""
    lrs = sorted(lrs)
    losses = {r: kept(file, {**key, "lr": r}, partial(fit_at, r))["loss"] for r in lrs}
    best = min(losses, key=lambda lr: losses[lr])
    return best, best in (lrs[0], lrs[-1])


@contextlib.contextmanager
def quiet() -> Any:
    """Keep Lightning's advice about devices and workers out of a table."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nothing:
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning with torch 2.15
        for name in ("lightning.pytorch", "tltool"):
            logging.getLogger(name).setLevel(logging.ERROR)
        with contextlib.redirect_stdout(nothing):
            yield


def _trained_at_the_end(task: nn.Module) -> int:
    return sum(parameter.numel() for parameter in task.parameters() if parameter.requires_grad)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])
