"""The layers that a fit leaves alone are found before it, and the task is left as it was."""

import pytest
import torch

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.strategies import (
    BatchNormOnly,
    FullFinetuning,
    GradualUnfreezing,
    LastBlocks,
    LinearProbe,
)
from tltool.models.backbone import Backbone
from tltool.models.layer_groups import layer_groups
from tltool.training.evaluation_front import evaluation_front
from tltool.training.image_task import ImageTask


@pytest.fixture
def task():
    torch.manual_seed(0)
    return ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)


@pytest.fixture
def front_of(task, images):
    def find(strategy, max_bytes=10**9):
        data = ImageFolderDataModule(images, data_config=task.data_config, num_workers=0)
        schedule = strategy.resolved_schedule(list(layer_groups(task)), 6)
        return evaluation_front(task, schedule, data, max_bytes=max_bytes)

    return find


def test_it_ends_where_the_groups_that_train_begin(front_of):
    assert front_of(LastBlocks(2)).cut.boundary == "model.layer2"


def test_the_task_is_left_as_it_was(front_of, task):
    task.backbone.model.layer1.eval()
    before = [module.training for module in task.modules()]
    front_of(LastBlocks(2))
    assert [module.training for module in task.modules()] == before
    assert all(parameter.requires_grad for parameter in task.parameters())


@pytest.mark.parametrize(
    "strategy", [LinearProbe(), FullFinetuning(), BatchNormOnly(), GradualUnfreezing()], ids=repr
)
def test_without_one_frozen_part_for_all_of_the_fit_there_is_none(front_of, strategy):
    assert front_of(strategy) is None


def test_activations_beyond_the_limit_are_not_kept(front_of):
    assert front_of(LastBlocks(2), max_bytes=1000) is None
