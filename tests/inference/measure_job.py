"""What two gloo processes, and one, measure for test_measure_ranks.py.

Usage: LOCAL_RANK=0 MASTER_PORT=... python measure_job.py IMAGES FOLDER
"""

import os
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.inference.predictor import Predictor
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask


class Rows(Callback):
    """Keep the path, the label and the probabilities of each image."""

    def __init__(self):
        self.rows = {}

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, *args):
        labels = batch["labels"].tolist() if batch["paths"] else []
        found = zip(batch["paths"], labels, outputs["probabilities"], strict=True)
        self.rows |= {path: (label, probabilities) for path, label, probabilities in found}


def measure(root, devices):
    """Return the metrics, the rows and the confusion matrix of the validation images."""
    torch.manual_seed(0)
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)
    data = ImageFolderDataModule(
        root, batch_size=4, num_workers=0, data_config=task.data_config, class_names=["0", "1"]
    )
    rows = Rows()
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[rows],
    )
    values, _ = Predictor(task).measure(data, "val", trainer=trainer)
    return {"values": values, "rows": rows.rows, "confusion": task.confusion}


def measure_labels(root, devices):
    """Return the metrics of the validation images, each with any of two classes, and of both."""
    torch.manual_seed(0)
    options = {"num_classes": 2, "class_names": ["0", "1"], "objective": "multi_label"}
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), **options)
    task.set_thresholds_([0.4, 0.6])
    shared = {"batch_size": 4, "num_workers": 0, "data_config": task.data_config}
    data = ManifestDataModule(
        root / "labels.csv", objective="multi_label", class_names=["0", "1"], **shared
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return Predictor(task).measure(data, "val", trainer=trainer)


def plain(found):
    """Return metrics as numbers and names alone."""
    return found if isinstance(found, dict) else [tuple(each) for each in found]


if __name__ == "__main__":
    for images in sorted(Path(sys.argv[1]).iterdir()):
        found = measure(images, devices=2)
        found["labels"] = [*map(plain, measure_labels(images, devices=2))]
        torch.save(found, Path(sys.argv[2]) / f"{images.name} {os.environ['LOCAL_RANK']}.pt")
