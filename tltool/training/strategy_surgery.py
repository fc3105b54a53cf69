"""The edits of a backbone that a fine-tuning strategy needs, such as its adapters."""

from lightning.pytorch import LightningModule

from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.serialization import plain
from tltool.training.image_task import ImageTask


def edit_for_strategy_(task: LightningModule, strategy: FinetuningStrategy) -> None:
    """Make the edits that a strategy needs and that the task's backbone has not had yet.

    Args:
        task: An `ImageTask`, before its optimizer exists.
        strategy: What will train it.

    Raises:
        TypeError: If the strategy needs edits, and the task is of another class.
        ValueError: If an edit cannot be made.
    """
    if type(strategy).surgery is FinetuningStrategy.surgery:
        return
    if not isinstance(task, ImageTask):
        raise TypeError(
            f"{type(strategy).__name__} edits the backbone, for which it needs an ImageTask, not a "
            f"{type(task).__name__}. Edit it before, by `apply_surgery_`, and use ChosenGroups."
        )
    made = task.backbone.surgery
    edits = plain(strategy.surgery(task.backbone), f"{type(strategy).__name__}.surgery")
    task.edit_backbone_([edit for edit in edits if edit not in made])
