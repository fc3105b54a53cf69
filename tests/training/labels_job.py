"""The trainings of test_objectives.py, in this process or as one of two gloo ranks.

Usage: LOCAL_RANK=0 MASTER_PORT=... python labels_job.py FOLDER MANIFEST_FOLDER
"""

import os
import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image

from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.finetuning.strategies import LPFT
from tltool.models.backbone import Backbone
from tltool.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.label_thresholds import LabelThresholds
from tltool.training.checkpoint_io import AtomicCheckpointIO
from tltool.training.image_task import ImageTask

MONITORS = {"multi_label": "val/map", "regression": "val/mae"}
OBJECTIVES = tuple(MONITORS)
#: Behind the first batch of an epoch, on features and on images.
STEPS = (1, 4)
OPTIMIZER = partial(torch.optim.AdamW, lr=3e-3)


class Saves(Callback):
    """Keep a checkpoint in the middle of each epoch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step in STEPS:
            trainer.save_checkpoint(self.folder / f"step {trainer.global_step}.ckpt")


def write_tables(folder, number=40):
    """Write images of mixed colors, and tables of which and how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    tables = {"multi_label": ["path,label"], "regression": ["path,label"]}
    for index in range(number):
        color = torch.randint(2, (3,), generator=generator)
        pixels = 90 + 60 * color + 40 * torch.randn(32, 32, 3, generator=generator)
        Image.fromarray(pixels.clamp(0, 255).to(torch.uint8).numpy()).save(folder / f"{index}.png")
        names = [name for name, has in zip("rgb", color, strict=True) if has]
        value = 20 + 10 * color[0] + 5 * color[1] + torch.randn((), generator=generator)
        tables["multi_label"].append(f"{index}.png,{';'.join(names)}")
        tables["regression"].append(f"{index}.png,{value:.3f}")
    for objective, rows in tables.items():
        (folder / f"{objective}.csv").write_text("\n".join(rows))
    return folder


def make_data(folder, objective, **options):
    data_config = Backbone("test_resnet", weights="random", img_size=32).data_config
    return ManifestDataModule(
        folder / f"{objective}.csv",
        objective=objective,
        data_config=data_config,
        **{"batch_size": 8, "num_workers": 0, "val_fraction": 0.4} | options,
    )


def make_task(data, **options):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    return ImageTask(
        backbone,
        num_classes=data.num_classes,
        class_names=data.class_names,
        objective=data.objective,
        optimizer=OPTIMIZER,
        **options,
    )


def train(folder, run_dir, objective, *, ckpt_path=None, devices=1, max_epochs=2, **options):
    """Return the Trainer and the task of a run with its checkpoints in ``run_dir``."""
    torch.manual_seed(0 if ckpt_path is None else 1)
    data = make_data(folder, objective)
    task = make_task(data, **options)
    directory = run_dir / "checkpoints"
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[
            Finetuning(LPFT(probe_epochs=1)),
            FeatureCaching(),
            BestCheckpoint(directory, MONITORS[objective]),
            LastCheckpoint(directory),
            Saves(directory),
            Ending(average="wise_ft", points=[0, 0.5, 1], choose="one_standard_error"),
            LabelThresholds(),
        ],
    )
    trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer, task


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder, tables = Path(sys.argv[1]), Path(sys.argv[2])
    found = {}
    for objective in OBJECTIVES:
        trainer, task = train(tables, folder / objective, objective, devices=2)
        found[objective] = {
            "weights": {name: value.clone() for name, value in task.state_dict().items()},
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "thresholds": task.thresholds,
        }
    torch.save(found, folder / f"{os.environ['LOCAL_RANK']}.pt")


if __name__ == "__main__":
    main()
