"""One measurement of others.py: started in a tool's own environment, once for each rank.

Model, data and optimizer are the same for all tools; only the fine-tuning callback differs. Prints
one JSON object as its last line.

Usage: python others_job.py ROW FAULT FOLDER
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import BackboneFinetuning, ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

UNFREEZE_AT, RESUME_AT, EPOCHS = 1, 3, 5
FROZEN_EPOCHS, STEPS_PER_EPOCH = 5, 4
Groups = Callable[[LightningModule], Iterable[Any]]


@dataclass(frozen=True)
class Row:
    """How a tool is used.

    Args:
        package: The package that is measured.
        callbacks: Returns the callbacks, of the epoch of the unfreeze and a folder for checkpoints.
        parameters: Returns what the optimizer is made of.
        strategy: The Trainer's strategy with two ranks.
        faults: What is measured.
    """

    package: str
    callbacks: Callable[[int, Path], list[Callback]]
    parameters: Groups
    strategy: str = "ddp"
    faults: tuple[str, ...] = ("ranks", "resume", "frozen")


class CalibratedBackbone(nn.Module):
    """A timm model whose batch norms know the statistics of other images, as pretrained ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.model = timm.create_model("test_resnet", num_classes=0)
        with torch.no_grad():
            for _ in range(100):
                self.model(torch.randn(16, 3, 32, 32))

    def forward(self, images: Tensor) -> Tensor:
        """Return features, ``(B, num_features)``."""
        features: Tensor = self.model(images)
        return features

    def layer_groups(self) -> dict[str, list[str]]:
        """Return the one layer group that tltool asks for."""
        return {"all": [name for name, _ in self.named_parameters()]}


class Task(LightningModule):
    """A backbone and a linear head."""

    def __init__(self, parameters: Groups) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = CalibratedBackbone()
        self.head = nn.Linear(self.backbone.model.num_features, 3)
        self.parameters_of = parameters
        self.last_images = self.last_features = torch.empty(0)

    def _loss(self, batch: list[Tensor]) -> Tensor:
        images, labels = batch
        features = self.backbone(images)
        if self.training:
            self.last_images, self.last_features = images, features.detach()
        return F.cross_entropy(self.head(features), labels)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss."""
        return self._loss(batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log what finetuning-scheduler watches."""
        self.log("val_loss", self._loss(batch), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return an optimizer with weight decay, which must not reach what is frozen."""
        return torch.optim.AdamW(self.parameters_of(self), lr=1e-3, weight_decay=0.1)  # type: ignore[arg-type]


class FreezeBatchNormToo(BackboneFinetuning):
    """What `train_bn=False` would do if it reached the freeze."""

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze as `BaseFinetuning` documents."""
        self.freeze(pl_module.backbone, train_bn=False)


class CompareRanks(Callback):
    """Count the parameters of rank 1 that are not those of rank 0."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare; rank 0 finds no difference."""
        self.differences = []
        for parameter in pl_module.parameters():
            of_rank_0 = parameter.detach().clone()
            dist.broadcast(of_rank_0, src=0)
            self.differences.append((parameter.detach() - of_rank_0).abs().max().item())


def lightning_row(strategy: str = "ddp", **options: Any) -> Row:
    """Return a row of `BackboneFinetuning`, with the optimizer of its docstring."""
    return Row(
        "lightning",
        lambda epoch, folder: [
            BackboneFinetuning(unfreeze_backbone_at_epoch=epoch, **options),
            checkpoints(ModelCheckpoint, folder),
        ],
        lambda task: task.head.parameters(),
        strategy,
    )


def lightning_overridden() -> Row:
    """Return the row of `FreezeBatchNormToo`."""
    return Row(
        "lightning",
        lambda epoch, folder: [
            FreezeBatchNormToo(unfreeze_backbone_at_epoch=epoch),
            checkpoints(ModelCheckpoint, folder),
        ],
        lambda task: task.head.parameters(),
    )


def scheduler_row(strategy: str = "ddp", **options: Any) -> Row:
    """Return a row of finetuning-scheduler, with an explicit schedule of two phases."""

    def callbacks(epoch: int, folder: Path) -> list[Callback]:
        from finetuning_scheduler import FinetuningScheduler, FTSCheckpoint

        schedule = {
            0: {"params": ["head.*"], "max_transition_epoch": epoch},
            # The last transition raises the Trainer's `max_epochs` where it is behind it.
            1: {"params": ["backbone.*"], "max_transition_epoch": epoch + 1, "lr": 1e-4},
        }
        finetuning = FinetuningScheduler(
            ft_schedule=schedule, epoch_transitions_only=True, log_dir=folder, **options
        )
        return [finetuning, checkpoints(FTSCheckpoint, folder)]

    trainable: Groups = lambda task: (p for p in task.parameters() if p.requires_grad)  # noqa: E731
    return Row("finetuning-scheduler", callbacks, trainable, strategy)


def generated_row() -> Row:
    """Return a row of finetuning-scheduler with the schedule that it generates.

    It thaws two parameters in a phase, and a phase ends by early stopping: here, after an epoch. To
    resume, a user would hand the dumped schedule over, which is the row with an explicit one.
    """

    def callbacks(epoch: int, folder: Path) -> list[Callback]:
        from finetuning_scheduler import FinetuningScheduler, FTSCheckpoint, FTSEarlyStopping

        return [
            FinetuningScheduler(base_max_lr=1e-3, log_dir=folder),
            FTSEarlyStopping(monitor="val_loss", patience=1, min_delta=10.0),
            checkpoints(FTSCheckpoint, folder),
        ]

    return on_two_ranks(replace(scheduler_row(), callbacks=callbacks))


def tltool_row(strategy: str = "ddp") -> Row:
    """Return a row of tltool's `Finetuning`."""

    def callbacks(epoch: int, folder: Path) -> list[Callback]:
        from tltool.finetuning.strategies import LPFT
        from tltool.training.callbacks.finetuning import Finetuning

        return [Finetuning(LPFT(probe_epochs=epoch)), checkpoints(ModelCheckpoint, folder)]

    def parameters(task: LightningModule) -> Iterable[Any]:
        from tltool.finetuning.param_groups import param_groups

        return param_groups(task, weight_decay=None)

    return Row("tltool", callbacks, parameters, strategy)


def on_two_ranks(row: Row) -> Row:
    """Return a row of which only the ranks are measured."""
    return replace(row, faults=("ranks",))


def checkpoints(kind: type[ModelCheckpoint], folder: Path) -> ModelCheckpoint:
    """Return a callback that keeps the checkpoint of each epoch."""
    return kind(dirpath=folder, filename="{epoch}", monitor="val_loss", save_top_k=-1)


UNUSED = "ddp_find_unused_parameters_true"
ROWS: dict[str, Row] = {
    "Lightning `BackboneFinetuning`": lightning_row(),
    f"Lightning, strategy `{UNUSED}`": on_two_ranks(lightning_row(UNUSED)),
    "Lightning, `train_bn=False`": lightning_row(train_bn=False),
    "Lightning, own `freeze(..., train_bn=False)`": lightning_overridden(),
    "finetuning-scheduler": scheduler_row(),
    "finetuning-scheduler, generated schedule": generated_row(),
    f"finetuning-scheduler, strategy `{UNUSED}`": on_two_ranks(scheduler_row(UNUSED)),
    "finetuning-scheduler, `frozen_bn_track_running_stats=False`": scheduler_row(
        frozen_bn_track_running_stats=False
    ),
    "tltool `Finetuning(LPFT())`": tltool_row(),
    f"tltool, strategy `{UNUSED}`": on_two_ranks(tltool_row(UNUSED)),
}


def fit(
    row: Row, folder: Path, *callbacks: Callback, unfreeze_at: int = UNFREEZE_AT, **options: Any
) -> Task:
    """Fine-tune a new model, on images that are darker and of less contrast than those before."""
    seed_everything(0, verbose=False)
    task = Task(row.parameters)
    images = torch.randn(64, 3, 32, 32) * 0.5 - 0.5
    data = TensorDataset(images, torch.arange(64) % 3)
    loader = DataLoader(data, batch_size=8)
    ckpt_path = options.pop("ckpt_path", None)
    trainer = Trainer(
        **{"max_epochs": EPOCHS, "devices": 1} | options,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[*row.callbacks(unfreeze_at, folder), *callbacks],
    )
    # The checkpoint is this job's own, and finetuning-scheduler's holds more than tensors.
    trainer.fit(task, loader, loader, ckpt_path=ckpt_path, weights_only=False)
    assert trainer.current_epoch <= options.get("max_epochs", EPOCHS)  # noqa: S101
    return task


def ranks(row: Row, folder: Path) -> dict[str, Any]:
    """Train on two ranks: how many parameters differ in the end, and by how much."""
    compare = CompareRanks()
    fit(row, folder, compare, devices=2, strategy=row.strategy)
    differing = sum(difference > 0 for difference in compare.differences)
    return {
        "differing": differing,
        "parameters": len(compare.differences),
        "largest": max(compare.differences),
    }


def resume(row: Row, folder: Path) -> dict[str, Any]:
    """Train straight, and again from a checkpoint of that run behind the unfreeze."""
    straight = fit(row, folder / "straight")
    checkpoint = folder / "straight" / f"epoch={RESUME_AT - 1}.ckpt"
    resumed = fit(row, folder / "resumed", ckpt_path=checkpoint)
    saved = torch.load(checkpoint, weights_only=False)["state_dict"]
    pairs = zip(straight.parameters(), resumed.parameters(), strict=True)
    backbone = [(n, p) for n, p in resumed.named_parameters() if n.startswith("backbone.")]
    # Convolutions; Lightning trains batch norms in the frozen phase already.
    moved = [
        not torch.equal(saved[n], parameter) for n, parameter in backbone if parameter.ndim > 1
    ]
    return {
        "largest": max((a.detach() - b.detach()).abs().max().item() for a, b in pairs),
        "training": sum(moved),
        "parameters": len(moved),
    }


def frozen(row: Row, folder: Path) -> dict[str, Any]:
    """Train the head for 20 steps: what changes in the frozen backbone, and in its features?"""
    compare = CompareWithStart()
    fit(
        row,
        folder,
        compare,
        unfreeze_at=FROZEN_EPOCHS,
        max_epochs=FROZEN_EPOCHS + 1,
        limit_train_batches=STEPS_PER_EPOCH,
    )
    return compare.result


class CompareWithStart(Callback):
    """Compare a backbone after the last step in which it is frozen with that before the freeze."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep its tensors, and its features of some images in evaluation mode."""
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(16, 3, 32, 32, generator=generator) * 0.5 - 0.5
        self.features = features_of(pl_module, self.images)
        self.tensors = {n: tensor.clone() for n, tensor in pl_module.backbone.state_dict().items()}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Compare."""
        if trainer.global_step != FROZEN_EPOCHS * STEPS_PER_EPOCH:
            return
        now = pl_module.backbone.state_dict()
        changed = [not torch.equal(tensor, now[name]) for name, tensor in self.tensors.items()]
        in_evaluation = features_of(pl_module, pl_module.last_images)
        self.result = {
            "changed": sum(changed),
            "tensors": len(changed),
            "moved": relative(features_of(pl_module, self.images), self.features),
            "training_against_evaluation": relative(pl_module.last_features, in_evaluation),
        }


def features_of(task: LightningModule, images: Tensor) -> Tensor:
    """Return what the backbone makes of images in evaluation mode; modes are as before then."""
    modes = {module: module.training for module in task.backbone.modules()}
    with torch.no_grad():
        features: Tensor = task.backbone.eval()(images)
    for module, mode in modes.items():
        module.training = mode
    return features


def relative(values: Tensor, reference: Tensor) -> float:
    """Return the largest distance of an image's features from the reference, over its length."""
    return ((values - reference).norm(dim=1) / reference.norm(dim=1)).max().item()


FAULTS: dict[str, Callable[[Row, Path], dict[str, Any]]] = {
    "ranks": ranks,
    "resume": resume,
    "frozen": frozen,
}


def main() -> None:
    """Measure, and print the result with the versions."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    row = ROWS[sys.argv[1]]
    result = FAULTS[sys.argv[2]](row, Path(sys.argv[3]))
    versions = {name: version(name) for name in (row.package, "lightning", "torch", "timm")}
    print(json.dumps(result | {"versions": versions}))


if __name__ == "__main__":
    main()
