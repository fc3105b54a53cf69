"""What decides the numbers of a prediction, and so whether finished chunks are used again."""

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.in_memory import InMemoryDecoder
from tltool.inference.prediction_facts import facts_name, prediction_facts
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask

PATHS = ["rows/000000", "rows/000001"]


class Rows(ImageDataModule):
    """Two images of one color that have a number in place of a file."""

    name = "rows"

    def __init__(self, color, **options):
        super().__init__(**options)
        self.color = color

    @property
    def decoder(self):
        return InMemoryDecoder({"rows": [(Image.new("RGB", (40, 40), self.color), "")] * 2})


@pytest.fixture(scope="module")
def name_of():
    """Return a function that names the facts of a prediction of `Rows`."""
    torch.manual_seed(0)
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2).eval()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)

    def name(color):
        data = Rows(color, data_config=task.data_config)
        return facts_name(prediction_facts(task, data, PATHS, trainer=trainer, num_shown=None))

    return name


def test_rows_of_other_pixels_have_another_name(name_of):
    assert name_of("red") != name_of("blue")


def test_the_same_rows_have_the_same_name(name_of):
    assert name_of("red") == name_of("red")
