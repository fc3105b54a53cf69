"""The checks of a model leave it as it is."""

from functools import partial

import pytest
import timm
import torch
from safetensors.torch import save_file

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.diagnostics.checks.model_checks import ModelChecks
from tltool.finetuning.strategies import FullFinetuning
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.models.layer_groups import layer_groups
from tltool.training.image_task import ImageTask


@pytest.mark.parametrize(
    ("crop_mode", "of_data", "status"),
    [("pad", {}, "ok"), (None, {}, "ok"), (None, {"crop_mode": "squash"}, "failed")],
)
def test_a_crop_mode_that_was_chosen_is_no_fault(images, tmp_path, crop_mode, of_data, status):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "a.safetensors")
    backbone = Backbone("test_resnet", str(tmp_path / "a.safetensors"), img_size=32)
    config = backbone.data_config | of_data
    data = ImageFolderDataModule(images, data_config=config, crop_mode=crop_mode)
    task = ImageTask(backbone, Head, num_classes=2)
    schedule = FullFinetuning().resolved_schedule([*layer_groups(task)], 1)
    result = next(ModelChecks(task, data, schedule).before_training(log_prior=False))
    assert (result.check, result.status) == ("preprocessing", status)


def test_checks_leave_the_task_as_it_is(images):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, partial(Head, input_norm="standardize"), num_classes=2)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    data = ImageFolderDataModule(images, data_config=backbone.data_config)
    names = list(layer_groups(task))
    checks = ModelChecks(task, data, FullFinetuning().resolved_schedule(names, 1))
    assert len([*checks.before_training(log_prior=False), *checks.in_trial_steps()]) == 9
    assert task.training
    torch.testing.assert_close(task.state_dict(), before, rtol=0, atol=0, equal_nan=True)
