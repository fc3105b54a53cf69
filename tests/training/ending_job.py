"""The trainings of test_ending.py, in this process or as one of two gloo ranks.

Usage: LOCAL_RANK=0 MASTER_PORT=... python ending_job.py FOLDER IMAGES
"""

import csv
import os
import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from PIL import Image

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.training.callbacks.checkpoints import (
    BestCheckpoint,
    EpochCheckpoints,
    LastCheckpoint,
)
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.checkpoint_io import AtomicCheckpointIO
from tltool.training.image_task import ImageTask

OPTIMIZER = partial(torch.optim.AdamW, lr=3e-3)


class Phases(FinetuningStrategy):
    def __init__(self, *phases):
        self.phases = phases

    def schedule(self, group_names, max_epochs):
        return Schedule(self.phases)


ALL = Phases(Phase("all", ("*",), batch_norm="train"))
LAST_LAYERS = Phase("last", ("backbone.layer4", "head"), batch_norm="train")
ALL_FIRST = Phase("all", ("*",), epochs=1, batch_norm="train")
ALL_THEN_LAST = Phases(ALL_FIRST, LAST_LAYERS)
ALL_THEN_HEAD = Phases(ALL_FIRST, Phase("head", ("head",)))


class Seen(Callback):
    """Note the metrics of each validation, that before the first step too."""

    def __init__(self):
        self.metrics = []

    def on_validation_end(self, trainer, pl_module):
        self.metrics.append({name: float(v) for name, v in trainer.callback_metrics.items()})


def write_hard_images(root, per_class=20):
    """Write images of noise whose classes overlap, so that no network is always right."""
    generator = torch.Generator().manual_seed(0)
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for index in range(per_class):
            level = 110 + 20 * label + 25 * torch.randn(1, generator=generator)
            pixels = level + 40 * torch.randn(32, 32, 3, generator=generator)
            image = Image.fromarray(pixels.clamp(0, 255).to(torch.uint8).numpy())
            image.save(root / name / f"{index:02d}.png")
    return root


def train(
    images,
    run_dir,
    ending,
    *callbacks,
    strategy=ALL,
    max_epochs=3,
    ckpt_path=None,
    caching=True,
    devices=1,
    **options,
):
    """Return the Trainer of a run with its checkpoints in ``run_dir``."""
    seed_everything(0 if ckpt_path is None else 1, verbose=False)
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=2, optimizer=OPTIMIZER)
    data = ImageFolderDataModule(
        images, data_config=task.data_config, batch_size=8, num_workers=0, val_fraction=0.45
    )
    folder = run_dir / "checkpoints"
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=-1,
        plugins=[AtomicCheckpointIO()],
        callbacks=[
            Finetuning(strategy),
            FeatureCaching(enabled=caching),
            BestCheckpoint(folder),
            *([EpochCheckpoints(folder, 3)] if ending and ending.average == "soup" else []),
            LastCheckpoint(folder),
            *callbacks,
            *([ending] if ending else []),
        ],
        **options,
    )
    trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def rows(run_dir):
    with (run_dir / "ending.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder, images = Path(sys.argv[1]), Path(sys.argv[2])
    ending = Ending(average="wise_ft", points=[0, 0.5, 1])
    trainer = train(images, folder / "run", ending, devices=2, max_epochs=2)
    found = {
        "summary": ending.summary,
        "score": trainer.checkpoint_callback.best_model_score,
        "weights": {name: value.clone() for name, value in trainer.model.state_dict().items()},
    }
    torch.save(found, folder / f"{os.environ['LOCAL_RANK']}.pt")


if __name__ == "__main__":
    main()
