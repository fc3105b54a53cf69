"""A small task, batches that it can learn, and the first phase of a strategy."""

from functools import partial

import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.models.layer_groups import layer_groups
from tltool.training.image_task import ImageTask


@pytest.fixture
def make_task():
    def make(optimizer=torch.optim.SGD, **options):
        torch.manual_seed(0)
        backbone = Backbone("test_resnet", weights="random")
        return ImageTask(backbone, num_classes=2, optimizer=partial(optimizer, lr=0.1), **options)

    return make


@pytest.fixture
def task(make_task):
    return make_task()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1] * 4)
    noise = torch.randn(3, 8, 3, 32, 32, generator=generator)
    return [{"images": images + labels.view(-1, 1, 1, 1), "labels": labels} for images in noise]


@pytest.fixture
def phase_of():
    def phase_of(task, strategy):
        return strategy.resolved_schedule(list(layer_groups(task)), 1).phases[0]

    return phase_of
