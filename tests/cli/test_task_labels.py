"""The classes of a checkpoint beside those that a command line gives."""

import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.training.checkpoint_io import TASK
from tltool.training.image_task import ImageTask

QUICK = ("--data.num_workers", "0", "--trainer.accelerator", "cpu")


@pytest.fixture
def write_checkpoint(tmp_path):
    """Return a function that writes a checkpoint with random weights."""

    def write(name):
        backbone = Backbone("test_resnet", weights="random", img_size=32)
        task = ImageTask(backbone, num_classes=2, class_names=["blue", "red"])
        content = {TASK: task.task_config, "state_dict": task.state_dict()}
        torch.save(content, tmp_path / name)

    return write


def data_options(images, names):
    return ["--data.root", images, "--data.class_names", names, *QUICK]


@pytest.mark.parametrize(
    "command",
    [
        ["validate", "--ckpt_path", "a.ckpt"],
        ["predict", "--ckpt_path", "a.ckpt"],
        ["merge", "a.ckpt", "b.ckpt", "--average", "uniform"],
    ],
)
def test_classes_in_another_order_are_refused_with_both(
    run_tltool, write_checkpoint, images, command
):
    write_checkpoint("a.ckpt")
    write_checkpoint("b.ckpt")
    status, _, err = run_tltool(*command, *data_options(images, "[red, blue]"))
    both = "data.class_names was ['blue', 'red'] and is ['red', 'blue']: the outputs of the"
    assert (status, both in err) == (1, True), err


def test_the_classes_of_the_checkpoint_may_be_given(run_tltool, write_checkpoint, images):
    write_checkpoint("a.ckpt")
    data = data_options(images, "[blue, red]")
    status, _, err = run_tltool("validate", "--ckpt_path", "a.ckpt", *data)
    assert status == 0, err
