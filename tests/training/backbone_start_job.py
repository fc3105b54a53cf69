"""What two gloo processes run for test_backbone_start.py; the second sees no images.

Usage: LOCAL_RANK=0 MASTER_PORT=... python backbone_start_job.py IMAGES FOLDER
"""

import os
import runpy
import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.strategies import LinearProbe
from tltool.training import backbone_start
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

if __name__ == "__main__":
    test = runpy.run_path(str(Path(__file__).with_name("test_backbone_start.py")))
    rank = int(os.environ["LOCAL_RANK"])
    if rank:
        del backbone_start.calibration_images
    task = ImageTask(test["make_backbone"](), num_classes=2)
    data = ImageFolderDataModule(
        sys.argv[1], batch_size=4, num_workers=0, data_config=task.data_config
    )
    trainer = Trainer(
        max_steps=0,
        max_epochs=1,
        accelerator="cpu",
        devices=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Finetuning(LinearProbe())],
    )
    trainer.fit(task, data)
    torch.save(task.backbone.state_dict(), Path(sys.argv[2]) / f"{rank}.pt")
