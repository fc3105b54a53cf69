"""What a checkpoint keeps of the images that a task was trained on."""

import pytest
import torch

from tltool.data.loading.samples import Samples, Splits
from tltool.inference.tested_images import num_trained_on
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask
from tltool.training.split_facts import described_split, split_facts
from tltool.training.task_checkpoint import TaskCheckpoint

ALL = Splits(Samples(["/images/a.jpg", "/images/b.jpg", "/images/c.jpg"]))
SPLIT = Splits(Samples(["/images/a.jpg", "/images/b.jpg"]), Samples(["/images/c.jpg"]))


@pytest.fixture(scope="module")
def task():
    return ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)


@pytest.fixture
def resume(task):
    """Return a function that trains on images, one run after another, and saves the last."""

    def resume(*runs):
        checkpoint = {}
        for splits in runs:
            kept, before = TaskCheckpoint(task), checkpoint
            kept.begin(splits, world_size=1)
            if before:
                kept.load(before)
            checkpoint = {}
            kept.save(checkpoint)
        return checkpoint

    return resume


@pytest.mark.parametrize(
    ("runs", "number"),
    [([SPLIT], 0), ([ALL, SPLIT], 1), ([ALL, SPLIT, SPLIT], 1), ([SPLIT, ALL, SPLIT], 1)],
    ids=["one run", "of other images", "resumed again", "later images"],
)
def test_images_that_any_run_of_the_weights_trained_on_are_counted(resume, runs, number):
    assert num_trained_on(SPLIT, "val", resume(*runs)) == number


def test_a_file_of_weights_counts_them_too(resume):
    found = described_split(split_facts(resume(ALL, SPLIT)))
    assert num_trained_on(SPLIT, "val", found) == 1


def test_a_resume_on_the_same_images_keeps_the_same(resume):
    once, twice = resume(SPLIT)["run_facts"], resume(SPLIT, SPLIT)["run_facts"]
    assert once.keys() == twice.keys()
    assert all(torch.equal(once["images"][name], twice["images"][name]) for name in once["images"])
