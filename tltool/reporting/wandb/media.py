"""Media of a run on Weights & Biases: tables, figures and images."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from tltool._csv_rows import read_rows
from tltool._plain_text import one_line
from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.data.loading.shuffled_sampler import Draw
from tltool.data.transforms.image_transform import unnormalize
from tltool.evaluation.confusion import MANY_CLASSES
from tltool.evaluation.predictions import PredictionSet
from tltool.reporting.figures.axes import as_image
from tltool.reporting.figures.confusion import draw_confusion
from tltool.reporting.figures.layer_health import draw_layer_health
from tltool.reporting.figures.reliability import draw_reliability
from tltool.reporting.tables import class_table
from tltool.reporting.wandb.run_logger import files_beside
from tltool.training.image_task import ImageTask

NUM_IMAGES = 16  # of each kind that are sent, where they are asked for
MOST_IN_CHART = 100
"""Classes of a confusion matrix as a chart: a row for each pair, of which W&B reads 10,000."""

log = logging.getLogger(__name__)


def log_predictions(
    run: Any, section: str, predictions: PredictionSet, class_names: Sequence[str]
) -> None:
    """Log a table of the classes, the confusion matrix and the reliability diagram.

    Of more than `MANY_CLASSES`, the table has those with the lowest F1; of more than
    `MOST_IN_CHART`, no confusion matrix can be filtered in the browser.

    Args:
        run: The run on W&B.
        section: Where the dashboard shows them, such as ``best``.
        predictions: Of the validation images.
        class_names: The classes, in the order of the labels.
    """
    import wandb

    classes = class_table(predictions.classes(class_names), MANY_CLASSES)
    if classes.note:
        log.info("W&B: the table of the %s classes has the lowest F1. %s", section, classes.note)
    confusion = draw_confusion(predictions.confusion(len(class_names)), class_names)
    figures = {"confusion": confusion, "reliability": draw_reliability(predictions.bins)}
    with files_beside(run):
        table = wandb.Table(columns=list(classes.columns), data=list(map(list, classes.rows)))
        images = {f"{section}/{name}": wandb.Image(as_image(f)) for name, f in figures.items()}
        run.log({f"{section}/classes": table, **images})
        if section == "best" and len(class_names) <= MOST_IN_CHART:
            chart = wandb.plot.confusion_matrix(
                y_true=predictions.labels.tolist(),
                preds=predictions.predicted.tolist(),
                class_names=list(class_names),
                title="confusion matrix, best epoch",
            )
            run.log({f"{section}/confusion_chart": chart})


def log_health(run: Any, path: Path) -> None:
    """Log a ``health.csv``, if there is one, as a picture of layers by time."""
    import wandb

    figure = draw_layer_health(read_rows(path)) if path.is_file() else None
    if figure is not None:
        run.log({"health/layers": wandb.Image(as_image(figure))})


def log_errors(run: Any, predictions: PredictionSet, loader: BatchLoader, task: ImageTask) -> None:
    """Log the images with the least probability of their class, and confident errors.

    Args:
        run: The run on W&B.
        predictions: Of the validation images.
        loader: Of the validation images.
        task: Knows the classes, and the preprocessing that is undone.
    """
    import wandb

    def image(index: int) -> Any:
        pixels = loader.images.dataset[int(predictions.positions[index])]["image"]
        predicted = task.class_names[int(predictions.predicted[index])]
        label = task.class_names[int(predictions.labels[index])]
        caption = f"{predicted} {predictions.confidence[index]:.2f} (is {label})"
        return wandb.Image(_picture(pixels, task.data_config), caption=one_line(caption))

    worst = predictions.of_label.argsort()[:NUM_IMAGES].tolist()
    confident = predictions.confident_errors()
    sure = [index for index in confident if index not in worst][:NUM_IMAGES]
    chosen = {"best/worst_images": worst, "best/confident_errors": sure}
    run.log({name: [image(index) for index in found] for name, found in chosen.items() if found})


def log_augmented(run: Any, loader: TrainingLoader, data_config: Mapping[str, Any]) -> None:
    """Log some training images as the network gets them, augmented and mixed."""
    import wandb

    dataset = loader.images.dataset
    number = min(NUM_IMAGES, len(dataset))  # type: ignore[arg-type]  # an ImageDataset
    # Draws of their own seeds: nothing that the training draws is touched.
    items = [dataset[Draw(index * len(dataset) // number, seed=index)] for index in range(number)]  # type: ignore[arg-type]
    batch = loader.images.collate_fn(items)
    images = [wandb.Image(_picture(image, data_config)) for image in batch["images"]]
    run.log({"train/augmented": images})


def _picture(image: Tensor, data_config: Mapping[str, Any]) -> Image.Image:
    # Of the type that W&B shows as it is: floats would become a black picture.
    pixels = unnormalize(image, data_config)
    assert pixels.dtype == torch.uint8  # noqa: S101  # see above
    picture: Image.Image = to_pil_image(pixels)
    return picture
