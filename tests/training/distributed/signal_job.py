"""Trainings that get a signal, for test_signals.py: in its process, or as ranks of their own.

Usage: LOCAL_RANK=0 MASTER_PORT=... python signal_job.py IMAGES FOLDER SCENARIO...
   or: torchrun --standalone --nproc-per-node=2 signal_job.py IMAGES FOLDER endless
"""

import contextlib
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.strategies import LPFT
from tltool.models.backbone import Backbone
from tltool.training.callbacks.checkpoints import LastCheckpoint
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.signal_stop import SignalStop, leave_together
from tltool.training.distributed.run_status import StatusOf
from tltool.training.distributed.signals import SIGNALS, SignalStopped
from tltool.training.image_task import ImageTask

#: The hook that a signal comes in, and the number of its call, of 3 epochs with 4 batches, and 2
#: of validation, which come first in the sanity check.
MOMENTS = {
    "features": ("on_fit_start", 1),
    "sanity check": ("on_validation_batch_start", 1),
    "training": ("on_train_batch_start", 3),
    "validation": ("on_validation_batch_start", 3),
    "save": ("on_save_checkpoint", 2),
    "between epochs": ("on_train_epoch_end", 1),
}


class Signaled(Callback):
    """Send a signal to this process at a moment; count the batches that are trained."""

    def __init__(self, number, moment, times=1):
        self.number, self.times = number, times
        self.hook, self.left = MOMENTS[moment] if moment else (None, 0)
        self.batches = 0

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.batches += 1

    def __getattribute__(self, name):
        own = super().__getattribute__
        if name.startswith("on_") and name == own("hook") and own("number"):
            self.left -= 1
            if not self.left:
                for _ in range(own("times")):
                    os.kill(os.getpid(), own("number"))
        return own(name)


def train(
    images,
    folder,
    *callbacks,
    ckpt_path=None,
    save_every=None,
    workers=0,
    epochs=3,
    accelerator="cpu",
    **options,
):
    """Train, as rank of several if the environment says so; return the task."""
    seed_everything(0)
    last = LastCheckpoint(folder / "checkpoints")
    strategy = {"strategy": "ddp", "devices": 2} if "LOCAL_RANK" in os.environ else {}
    trainer = Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[
            *callbacks,
            Finetuning(LPFT(probe_epochs=1)),
            last,
            SignalStop(last, save_every),
        ],
        **strategy,
        **options,
    )
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    config = {"data_config": backbone.data_config, "augmentation": "crop", "batch_size": 4}
    data = ImageFolderDataModule(images, num_workers=workers, val_fraction=1 / 3, **config)
    task = ImageTask(backbone, num_classes=data.num_classes, class_names=data.class_names)
    try:
        trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    except SignalStopped as stop:
        if stop.has_agreed:
            leave_together(trainer)
        raise
    return task


def stop_and_resume(images, folder, rank, number, moment, target, **options):
    """Send a signal to ranks, and go on from what was saved; return what came of it."""
    hit = Signaled(number if rank in target else None, moment)
    came = {"rank": rank, "stopped": None}
    try:
        train(images, folder, hit, **options)
    except SignalStopped as stop:
        came["stopped"] = stop.signal_name
    last = folder / "checkpoints" / "last.ckpt"
    came["saved"] = torch.load(last, weights_only=True)["global_step"] if last.is_file() else 0
    came["trained"] = hit.batches
    task = train(images, folder, ckpt_path=last if last.is_file() else None)
    came["sum"] = float(sum(p.detach().double().abs().sum() for p in task.parameters()))
    return came


def scenarios():
    """Return (signal, moment, ranks that get it) by name."""
    first, second, both = (0,), (1,), (0, 1)
    return {
        "straight": (None, None, ()),
        "SIGTERM to rank 0 in training": (signal.SIGTERM, "training", first),
        "SIGUSR1 to rank 1 in training": (signal.SIGUSR1, "training", second),
        "SIGUSR2 to both in training": (signal.SIGUSR2, "training", both),
        "SIGINT to both in training": (signal.SIGINT, "training", both),
        "SIGTERM to rank 1 in validation": (signal.SIGTERM, "validation", second),
        "SIGUSR2 to both in validation": (signal.SIGUSR2, "validation", both),
        "SIGTERM to both in a save": (signal.SIGTERM, "save", both),
        "SIGUSR1 to rank 0 between epochs": (signal.SIGUSR1, "between epochs", first),
        "SIGTERM to rank 1 in the sanity check": (signal.SIGTERM, "sanity check", second),
        "SIGTERM to rank 0 while features are computed": (signal.SIGTERM, "features", first),
    }


def main():
    images, folder = sys.argv[1], Path(sys.argv[2])
    if sys.argv[3] == "endless":  # Until a signal comes, which the launcher gets.
        is_first = os.environ["RANK"] == "0"
        with SIGNALS.installed(), StatusOf(folder) if is_first else contextlib.nullcontext():
            train(images, folder, epochs=100_000)
    os.environ["WORLD_SIZE"] = "2"
    rank = int(os.environ["LOCAL_RANK"])
    came = {}
    for name in sys.argv[3:]:
        place = folder / name.replace(" ", "_")
        place.mkdir(exist_ok=True)
        start = time.monotonic()
        came[name] = stop_and_resume(images, place, rank, *scenarios()[name])
        came[name]["seconds"] = time.monotonic() - start
        print(name, came[name], flush=True)
    (folder / f"rank{rank}.json").write_text(json.dumps(came))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell ignores it for jobs of `&`.
    main()
