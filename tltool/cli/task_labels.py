"""What the labels of a checkpoint are, for the data that are measured or predicted by it."""

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.training.image_task import ImageTask


def take_labels_(data: ImageDataModule, task: ImageTask) -> ImageDataModule:
    """Let data have the classes and the objective of a task, in place; return them.

    Not by the configuration: the parser takes minutes for thousands of names.
    """
    data.given_class_names = task.class_names
    data.objective = task.objective
    return data
