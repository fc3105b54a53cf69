"""What a checkpoint of tltool says of its backbone, where its weights begin another training."""

import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.training.checkpoint_io import TASK
from tltool.training.image_task import ImageTask

SWAP = {"swap_activations": "gelu"}
OWN = {"mean": [0.1, 0.2, 0.3], "std": [1.0] * 3, "crop_mode": "squash", "input_size": [3, 48, 48]}


@pytest.fixture
def save(tmp_path):
    """Return a function that writes a checkpoint, and returns its path."""

    def write(*, surgery=(), **data_config):
        backbone = Backbone("test_resnet", weights="random", surgery=list(surgery))
        given = {**backbone.data_config, **data_config}
        task = ImageTask(backbone, num_classes=2, data_config=given)
        path = tmp_path / "best.ckpt"
        torch.save({TASK: task.task_config, "state_dict": task.state_dict()}, path)
        return str(path)

    return write


def test_weights_of_a_checkpoint_bring_its_preprocessing(save):
    config = Backbone("test_resnet", save(**OWN)).data_config
    assert {key: config[key] for key in OWN} == OWN


def test_the_users_size_is_stronger_than_that_of_a_checkpoint(save):
    assert (
        Backbone("test_resnet", save(**OWN), img_size=64).data_config["input_size"][1:] == [64] * 2
    )


def test_weights_from_between_edits_warn_where_these_are_missing(save, caplog):
    Backbone("test_resnet", save(surgery=[SWAP]))
    assert "were trained with `surgery: [{'swap_activations': 'gelu'}]`" in caplog.text


def test_weights_from_between_the_same_edits_do_not_warn(save, caplog):
    Backbone("test_resnet", save(surgery=[SWAP]), surgery=[SWAP])
    assert "were trained with" not in caplog.text


def test_edits_of_values_do_not_warn(save, caplog):
    Backbone("test_resnet", save(surgery=[{"reinitialize": [-1]}]))
    assert "were trained with" not in caplog.text


def test_what_another_tool_keeps_under_the_same_key_is_left_alone(tmp_path):
    state = Backbone("test_resnet", weights="random").model.state_dict()
    torch.save({TASK: {"backbone": "theirs"}, "state_dict": state}, tmp_path / "theirs.pth")
    config = Backbone("test_resnet", str(tmp_path / "theirs.pth")).data_config
    assert config == Backbone("test_resnet", weights="random").data_config
