"""What two gloo processes run for test_fsdp2.py: trainings with sharded and replicated weights.

Usage: LOCAL_RANK=0 MASTER_PORT=... python fsdp2_job.py FOLDER IMAGES RUN...
"""

import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.distributed.fsdp import FSDPModule

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from tltool.training.callbacks.divergence import Divergence
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.health_monitor import HealthMonitor
from tltool.training.checkpoint_io import AtomicCheckpointIO
from tltool.training.image_task import ImageTask

CUT_AFTER = 2  # epochs of `PHASES`
# A large `eps`: Adam makes whole steps of what rounding leaves of gradients near zero.
ADAMW = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05, eps=1e-4)


class Phases(FinetuningStrategy):
    """A probe, everything, the last blocks, everything again; with layer-wise decay."""

    def __init__(self, batch_norm="train"):
        self.options = {"layer_decay": 0.7, "batch_norm": batch_norm}

    def schedule(self, group_names, max_epochs):
        return Schedule(
            (
                Phase("probe", ("head",), epochs=1),
                Phase("all", ("*",), epochs=1, **self.options),
                Phase("top", (-1, -2), epochs=1, **self.options),
                Phase("again", ("*",), **self.options),
            )
        )


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def train(images, run_dir, strategy, *callbacks, name="test_vit", ckpt_path=None, **options):
    """Train with all that the command line adds, and leave best.ckpt and last.ckpt in a folder."""
    seed_everything(0)
    of_backbone, batch_norm = options.pop("backbone", {}), options.pop("batch_norm", "train")
    optimizer, batch_size = options.pop("optimizer", ADAMW), options.pop("batch_size", 2)
    backbone = Backbone(name, weights="random", img_size=32, **of_backbone)
    data = ImageFolderDataModule(
        images, data_config=backbone.data_config, batch_size=batch_size, num_workers=0
    )
    task = ImageTask(
        backbone,
        partial(Head, hidden_features=[8], input_norm="standardize"),
        num_classes=data.num_classes,
        class_names=data.class_names,
        optimizer=optimizer,
    )
    checkpoints = Path(run_dir) / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        accelerator="cpu",
        strategy=strategy,
        plugins=[AtomicCheckpointIO()],
        logger=False,
        default_root_dir=run_dir,  # Where health.csv goes without a logger.
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            Divergence(),
            Finetuning(Phases(batch_norm)),
            FeatureCaching(enabled=False),
            HealthMonitor(every=2, backbone=True),
            BestCheckpoint(checkpoints),
            LastCheckpoint(checkpoints),
            *callbacks,
        ],
        **{"devices": 2, "max_epochs": 4, **options},
    )
    trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


EDITS = [
    {"fold_norms": {"only": "layer1.*"}},
    {"remove_norms": {"only": "layer2.*"}},
    {"replace_norms": "group"},
    {"add_norms": {"only": "layer2.*"}},
    {"swap_activations": {"to": "gelu", "match": "moments"}},
]
OPTIONS = {
    "vit": {},
    "all options": {
        "gradient_clip_val": 0.1,
        "backbone": {"grad_checkpointing": True, "stop_at": "blocks.2"},
    },
    "resnet": {"name": "test_resnet", "batch_norm": "eval"},
    "batch norms": {
        "name": "test_resnet",
        "batch_norm": "train",
        "batch_size": 4,
        "precision": "64-true",
    },
    "edited norms": {
        "name": "test_resnet",
        "backbone": {"surgery": EDITS},
        "batch_size": 4,
        "precision": "64-true",
    },
    # With Adam's own `eps`, for what rounding leaves is some 1e-16 here.
    "accumulation": {
        "accumulate_grad_batches": 2,
        "precision": "64-true",
        "optimizer": partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05),
    },
}
RESUMED = [("fsdp2", "fsdp2"), ("fsdp2", "ddp"), ("ddp", "fsdp2")]


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder, images = map(Path, sys.argv[1:3])
    for run in sys.argv[3:]:
        options, strategies = OPTIONS[run], ("ddp", "fsdp2")
        for strategy in strategies:
            trainer = train(images, folder / run / strategy, strategy, **options)
        if run != "vit":
            continue
        if trainer.is_global_zero:
            named = trainer.lightning_module.named_modules()
            names = [name for name, module in named if isinstance(module, FSDPModule)]
            (folder / "modules.txt").write_text("\n".join(names))
        for strategy in strategies:
            train(images, folder / run / f"{strategy} cut", strategy, StopAfter(CUT_AFTER))
        for before, after in RESUMED:
            path = folder / run / f"{before} cut" / "checkpoints" / "last.ckpt"
            train(images, folder / run / f"{before} then {after}", after, ckpt_path=path)


if __name__ == "__main__":
    main()
