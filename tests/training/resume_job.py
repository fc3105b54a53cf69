"""The trainings of test_resume.py, in this process or as one of two gloo ranks.

Usage: LOCAL_RANK=0 MASTER_PORT=... python resume_job.py FOLDER IMAGES
"""

import os
import shutil
import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy, LoRA
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.checkpoints import LastCheckpoint
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

#: Options of data and trainer. All have crops, dropout, drop path, and phases that change; without
#: crops the first phase reads features, and in ``activations`` the first two read those.
CASES = {
    "everything": (
        {"augmentation": "trivial_augment", "mixup": 0.4, "num_workers": 2},
        {"accumulate_grad_batches": 2, "precision": "bf16-mixed"},
    ),
    "plain": ({}, {}),
    "features": ({"augmentation": "none"}, {}),
    "mixing": ({"mixup": 0.4, "cutmix": 1.0, "batch_size": 8}, {}),
    "workers": ({"num_workers": 2}, {}),
    "accumulation": ({}, {"accumulate_grad_batches": 2}),
    "bf16": ({"batch_size": 8}, {"precision": "bf16-mixed"}),
    "short epochs": ({}, {"limit_train_batches": 3}),
    "max_steps": ({}, {"max_steps": 13}),
    "adapters": ({"augmentation": "none"}, {"accumulate_grad_batches": 2}),
    "l2_sp": ({}, {}),
    "activations": ({}, {}),
    "class-balanced": ({"sampling": "class_balanced"}, {}),
}
#: In the first epoch, in a later one around a change of phase, after one epoch, and after the
#: validation of the second one.
POINTS = ("step 2", "step 7", "epoch 1", "validation 1")
#: With another cut, and behind the seam to images.
LATE = ("step 12", "step 22")
#: Between the batches of a step, in the phase of all.
BEGUN = "begun 7"


class ThreePhases(FinetuningStrategy):
    def schedule(self, group_names, max_epochs):
        probe = Phase("probe", ("head",), epochs=1)
        warm = Phase("warm", ("*",), steps=2, lr_scale=0.5)
        return Schedule((probe, warm, Phase("all", ("*",), decay="cosine")))


class ThreeCuts(FinetuningStrategy):
    """The last group, the last two, and all; two epochs for one view are enough to be kept."""

    def schedule(self, group_names, max_epochs):
        last = Phase("last", (-1,), epochs=2)
        return Schedule((last, Phase("two", (-2, -1), epochs=2), Phase("all", ("*",))))


#: Adapters behind cached activations; the others have three phases.
STRATEGIES = {"adapters": LoRA(rank=2, num_groups=2), "activations": ThreeCuts()}
L2_SP = {"l2_sp": 0.5, "adapters": 0.1}


class Saves(Callback):
    """Keep a checkpoint of each step, validation and epoch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.is_last_batch:
            return
        is_begun = (batch_idx + 1) % trainer.accumulate_grad_batches
        name = f"{'begun' if is_begun else 'step'} {trainer.global_step}.ckpt"
        trainer.save_checkpoint(self.folder / name)

    def on_validation_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.folder / f"validation {trainer.current_epoch}.ckpt")

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.is_global_zero:
            name = f"epoch {trainer.current_epoch}.ckpt"
            shutil.copy(self.folder / "last.ckpt", self.folder / name)


class Metrics(Callback):
    """Note the training metrics that each epoch has left."""

    def __init__(self):
        self.noted = {}

    def on_train_epoch_start(self, trainer, pl_module):
        self.note(trainer, trainer.current_epoch)

    def on_train_end(self, trainer, pl_module):
        self.note(trainer, "end")

    def note(self, trainer, time):
        metrics = trainer.callback_metrics.items()
        self.noted[time] = {name: float(value) for name, value in metrics if "train" in name}


class FewToTest(ImageFolderDataModule):
    def samples(self, split):
        return super().samples("train").subset(range(0, 2 * self.number, 2))


class Uneven(ImageFolderDataModule):
    """Of the first class, four training images fewer."""

    def samples(self, split):
        found = super().samples(split)
        return found.subset(range(4, len(found))) if split == "train" else found


ON_ACTIVATIONS = {"views": 1, "max_epochs": 5}
CLASS_BALANCED = {"data": {"sampling": "class_balanced"}}
ADAM = partial(torch.optim.AdamW, lr=1e-2)
SGD = partial(torch.optim.SGD, lr=1e-2)


def make_task(name="test_resnet", dropout=0.5, drop_path=0.2, optimizer=ADAM, l2_sp=0.0):
    backbone = Backbone(name, weights="random", drop_path_rate=drop_path, img_size=32)
    head = partial(Head, hidden_features=[8], dropout=dropout)
    return ImageTask(backbone, head, num_classes=2, optimizer=optimizer, l2_sp=l2_sp)


def make_data(images, task, **options):
    defaults = {"batch_size": 4, "num_workers": 0, "augmentation": "crop"}
    kind = Uneven if "sampling" in options else ImageFolderDataModule
    return kind(images, data_config=task.data_config, **defaults | options)


def make_trainer(*callbacks, devices=1, finetuning=None, views=4, **options):
    return Trainer(
        **{"max_epochs": 3} | options,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, LastCheckpoint) for c in callbacks),
        callbacks=[
            Finetuning(finetuning or ThreePhases()),
            FeatureCaching(views=views),
            *callbacks,
        ],
    )


def train(images, case, *, save_to=None, ckpt_path=None, devices=1, **options):
    """Return weights, state of the optimizer, and training metrics."""
    data_options, trainer_options = CASES[case]
    torch.manual_seed(0 if ckpt_path is None else 1)  # A resume takes the seed of the checkpoint.
    task, metrics = make_task(l2_sp=L2_SP.get(case, 0.0)), Metrics()
    trainer_options = {"finetuning": STRATEGIES.get(case), **trainer_options}
    saves = [Saves(save_to), LastCheckpoint(save_to)] if save_to else []
    if case == "activations":
        options |= ON_ACTIVATIONS
    trainer = make_trainer(metrics, *saves, devices=devices, **trainer_options, **options)
    data = make_data(images, task, **data_options)
    trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    return {
        "weights": {name: value.clone() for name, value in task.state_dict().items()},
        "optimizer": trainer.optimizers[0].state_dict()["state"],
        "metrics": metrics.noted,
    }


def train_once(images, *, devices=1, data=None, **options):
    """Train without what makes one process and two differ; return weights and steps."""
    torch.manual_seed(0)
    # Adam would make steps of the rounding errors of small gradients.
    task = make_task("test_vit", dropout=0.0, drop_path=0.0, optimizer=SGD)
    trainer = make_trainer(devices=devices, **options)
    trainer.fit(task, make_data(images, task, val_fraction=1 / 3, **data or {}))
    return {"weights": dict(task.state_dict()), "steps": trainer.global_step}


def evaluate(images, number, *, devices=1):
    """Return the metrics of so many images, and how many were counted."""
    torch.manual_seed(0)
    task = make_task()
    data = FewToTest(images, data_config=task.data_config, batch_size=4, num_workers=0)
    data.number = number
    (metrics,) = make_trainer(devices=devices).test(task, data, verbose=False)
    return {"metrics": metrics, "counted": int(task.confusion.sum())}


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder, images = Path(sys.argv[1]), Path(sys.argv[2])
    results = {"once": train_once(images, devices=2)}
    results["once on activations"] = train_once(images, devices=2, **ON_ACTIVATIONS)
    results["once class-balanced"] = train_once(images, devices=2, **CLASS_BALANCED)
    results["evaluation"] = {number: evaluate(images, number, devices=2) for number in (1, 2, 7)}
    for case in sys.argv[3:]:
        saves = folder / case
        results[case] = {"straight": train(images, case, devices=2)}
        results[case]["saving"] = train(images, case, save_to=saves, devices=2)
        more = {"accumulation": (BEGUN,), "activations": LATE}
        for point in (*POINTS, *more.get(case, ())):
            path = saves / f"{point}.ckpt"
            results[case][point] = train(images, case, ckpt_path=path, devices=2)
    torch.save(results, folder / f"{os.environ['LOCAL_RANK']}.pt")


if __name__ == "__main__":
    main()
