"""What the labels of a checkpoint are, for the data that are measured or predicted by it."""

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.training.image_task import ImageTask
from tltool.training.resume_rules import Difference


def take_labels_(data: ImageDataModule, task: ImageTask) -> ImageDataModule:
    """Let data have the classes and the objective of a task, in place; return them.

    Not by the configuration: the parser takes minutes for thousands of names.

    Raises:
        ValueError: If other classes, or another order of them, were given to the data.
    """
    if data.given_class_names and data.given_class_names != task.class_names:
        words = Difference("data.class_names", task.class_names, data.given_class_names).words
        raise ValueError(
            f"{words}: the outputs of the checkpoint stand for its own classes, in their order. "
            "Leave out --data.class_names."
        )
    data.given_class_names = task.class_names
    data.objective = task.objective
    return data
