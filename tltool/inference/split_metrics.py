"""Metrics of a split, and of each of its classes, as a Trainer has measured them."""

from collections.abc import Mapping

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.per_class import class_metrics
from tltool.inference.prediction import SplitMetrics
from tltool.training.image_task import ImageTask
from tltool.training.metrics import SCALED


def split_metrics(
    task: ImageTask, data: ImageDataModule, split: SplitName, values: Mapping[str, float]
) -> SplitMetrics:
    """Return the metrics that a task has measured last.

    Args:
        task: Knows the confusion matrix, or the outcomes of several classes for each image.
        data: What was measured.
        split: Which images of it.
        values: The metrics, as the Trainer returns them.
    """
    if task.outcomes is not None:
        probabilities, targets = task.outcomes.unbind(dim=2)
        found = MultiLabelPredictions.of(probabilities, targets, task.thresholds)
        own = {}
        if task.thresholds is not None:  # The metrics of training are at one of .5.
            own[f"{split}/f1_macro_at_thresholds"] = found.macro_f1
            own[f"{split}/exact_match_at_thresholds"] = float(found.exact.double().mean())
        return SplitMetrics({**values, **own}, found.classes(task.class_names))
    if task.calibration.num_shared(data.splits, split):
        values = {name: value for name, value in values.items() if not name.endswith(SCALED)}
    confusion = task.confusion
    classes = [] if confusion is None else class_metrics(confusion, task.class_names)
    return SplitMetrics(dict(values), classes)
