"""A small task around timm's tiny architectures."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import timm
import torch
from lightning.pytorch import LightningModule, Trainer
from timm.models import group_parameters
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tltool.finetuning.param_groups import param_groups
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.layer_groups import name_groups
from tltool.surgery.calibration import calibrate_
from tltool.surgery.edits import apply_surgery_

collect_ignore = [
    "distributed/fsdp2_job.py",
    "distributed/signal_job.py",
    "distributed/two_ranks_job.py",
    "backbone_start_job.py",
    "ending_job.py",
    "labels_job.py",
]  # scripts of tests


class Backbone(nn.Module):
    """A timm model of random weights, as `tltool.models.backbone.Backbone` wraps it."""

    def __init__(self, name: str, **options) -> None:
        super().__init__()
        self.model = timm.create_model(name, num_classes=0, **options)

    def forward(self, images):
        return self.model(images)

    def layer_groups(self, coarse=True):
        classifier = () if coarse else classifier_names(self.model)
        named = [*self.model.named_parameters(), *((name, None) for name in classifier)]
        matcher = self.model.group_matcher(coarse=coarse)
        groups = group_parameters(SimpleNamespace(named_parameters=lambda: named), matcher)
        return {
            group: [f"model.{name}" for name in names]
            for group, names in name_groups(groups, classifier).items()
        }


def classifier_names(model):
    """Names of the weights that `num_classes=0` has removed."""
    names = model.pretrained_cfg["classifier"]
    names = (names,) if isinstance(names, str) else names
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]


class Task(LightningModule):
    """The smallest task that the finetuning callback serves."""

    def __init__(
        self,
        name: str = "test_resnet",
        make_optimizer: Callable = lambda groups: torch.optim.SGD(groups, lr=0.1),
        weight_decay: float = 0.0,
        dropout: float = 0.1,
        **options,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = Backbone(name, **options)
        with torch.no_grad():
            num_features = self.backbone.eval()(torch.zeros(1, 3, 32, 32)).shape[1]
        self.backbone.train()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, 3))
        self.make_optimizer = make_optimizer
        self.weight_decay = weight_decay
        self.lrs = []

    def training_step(self, batch, batch_idx):
        images, labels = batch
        self.lrs.append({g["name"]: g["lr"] for g in self.optimizers().param_groups})
        return F.cross_entropy(self.head(self.backbone(images)), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val/loss", F.cross_entropy(self.head(self.backbone(images)), labels))

    def configure_optimizers(self):
        return self.make_optimizer(param_groups(self, self.weight_decay))


class Phases(FinetuningStrategy):
    """A strategy of given phases."""

    def __init__(self, *phases):
        self.phases = phases

    def schedule(self, group_names, max_epochs):
        return Schedule(self.phases)


class Images(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, 32, 32, generator=generator), index % 3


def edit_(task: Task) -> Task:
    """Edit all norms and activations of a task, with values from the images it trains on."""
    images = torch.stack([Images()[index][0] for index in range(len(Images()))])
    edits = [{"replace_norms": "group"}, {"swap_activations": {"to": "gelu", "match": "moments"}}]
    apply_surgery_(task.backbone.model, edits, example=images[:1])
    calibrate_(task.backbone.model, images)
    return task


@pytest.fixture
def make_task():
    return Task


@pytest.fixture
def make_trainer(tmp_path):
    def make(*callbacks, **options):
        defaults = {
            "max_epochs": 2,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return Trainer(callbacks=list(callbacks), **defaults | options)

    return make


@pytest.fixture
def fit(make_trainer):
    def run(task, *callbacks, ckpt_path=None, weights_only=None, **options):
        trainer = make_trainer(*callbacks, **options)
        loader = DataLoader(Images(), batch_size=4)
        trainer.fit(task, loader, loader, ckpt_path=ckpt_path, weights_only=weights_only)
        return trainer

    return run
