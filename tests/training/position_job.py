"""The trainings of test_epoch_position.py: cut at a hook, or by the Trainer, and resumed."""

import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from tltool._csv_rows import read_rows
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.csv_logger import CSVMetrics
from tltool.training.image_task import ImageTask


class Cut(Exception):
    """What ends a run."""


class At(Callback):
    """Do something at the n-th call of a hook."""

    def __init__(self, hook, number, action):
        self.hook, self.left, self.action = hook, number, action
        if number:
            setattr(self, hook, self._count)

    @property
    def state_key(self):
        return f"At {self.hook}"

    def _count(self, trainer, *args):
        if trainer.sanity_checking:
            return
        self.left -= 1
        if self.left == 0:
            self.action(trainer)


class Order(Callback):
    """Note the images of each step."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch_idx, batch["paths"]))


class SomePhases(FinetuningStrategy):
    """The head for an epoch; a phase that begins and ends inside of one; everything."""

    def schedule(self, group_names, max_epochs):
        probe = Phase("probe", ("head",), epochs=1)
        warm = Phase("warm", ("*",), steps=2, lr_scale=0.5)
        return Schedule((probe, warm, Phase("all", ("*",))))


@dataclass
class Run:
    """What a training has left."""

    weights: dict
    optimizer: dict
    rows: list
    batches: list
    was_cut: bool


def fit(images, run_dir, *callbacks, ckpt_path=None, strategy=None, data=None, **options):
    """Train three epochs of five batches, or what is left of them."""
    torch.manual_seed(0 if ckpt_path is None else 1)  # A resume takes the seed of the checkpoint.
    backbone = Backbone("test_resnet", weights="random", drop_path_rate=0.2, img_size=32)
    task = ImageTask(
        backbone,
        partial(Head, hidden_features=[4], dropout=0.5),
        num_classes=2,
        optimizer=partial(torch.optim.AdamW, lr=1e-2),
    )
    given = {"batch_size": 4, "num_workers": 0, "augmentation": "none"} | (data or {})
    run_dir.mkdir(parents=True, exist_ok=True)
    order = Order()
    trainer = Trainer(
        accelerator="cpu",
        logger=CSVMetrics(run_dir),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            Finetuning(strategy or SomePhases()),
            FeatureCaching(),
            BestCheckpoint(run_dir / "checkpoints"),
            LastCheckpoint(run_dir / "checkpoints"),
            order,
            *callbacks,
        ],
        **{"max_epochs": 3, "log_every_n_steps": 2} | options,
    )
    data = ImageFolderDataModule(images, data_config=task.data_config, **given)
    was_cut = True
    with contextlib.suppress(Cut):
        trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
        was_cut = False
    weights = {name: value.clone() for name, value in task.state_dict().items()}
    state = trainer.optimizers[0].state_dict()["state"]
    rows = read_rows(run_dir / "metrics.csv") if (run_dir / "metrics.csv").is_file() else []
    rows = [{name: value for name, value in row.items() if value} for row in rows]
    return Run(weights, state, rows, order.batches, was_cut)


def cut(trainer):
    """End the run at once."""
    raise Cut


def stop(trainer):
    """End training as a time limit does."""
    trainer.should_stop = True


def last(run_dir):
    """Return the checkpoint of a run to resume from."""
    return Path(run_dir) / "checkpoints" / "last.ckpt"
