"""Ranking of backbones on a data set: frozen features, a closed-form probe and LogME."""

import time
from typing import TYPE_CHECKING, NamedTuple

from tltool.data.loading.samples import Splits
from tltool.diagnostics.advice.backbone_suitability import Suitability, measure_suitability
from tltool.diagnostics.advice.subsample import at_most
from tltool.features.extraction import extract_features
from tltool.models.backbone import Backbone
from tltool.models.weights.local_weights import LocalWeights

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule


class RankedBackbone(NamedTuple):
    """A backbone and how well it suits the images.

    Attributes:
        weights: The backbone and where its weights are.
        num_parameters: Its size, without the classifier.
        img_size: Height and width of the images that it sees, in pixels.
        images_per_second: How fast it was, the decoding of the images included.
        suitability: See `Suitability`.
    """

    weights: LocalWeights
    num_parameters: int
    img_size: int
    images_per_second: float
    suitability: Suitability


def rank_backbone(weights: LocalWeights, data: "ImageDataModule") -> RankedBackbone:
    """Return how well a backbone suits the images.

    It gets its own preprocessing: the data module's ``data_config`` is set to it.

    Args:
        weights: The backbone and where its weights are.
        data: The images, with a training and a validation split.

    Raises:
        ValueError: If the weights do not fit.
        OSError: If they cannot be read.
    """
    backbone = Backbone(weights.name, weights.weights)
    data.data_config = backbone.data_config
    start, count, found = time.perf_counter(), 0, {}
    for split in ("train", "val"):
        loader = data.evaluation_dataloader(split)
        found[split] = extract_features(
            backbone, loader, description=f"{weights.name}, {split} images", total=len(loader)
        )
        count += len(found[split][1])
    seconds = time.perf_counter() - start
    return RankedBackbone(
        weights,
        sum(parameter.numel() for parameter in backbone.parameters()),
        backbone.data_config["input_size"][-1],
        count / seconds,
        measure_suitability(found["train"], found["val"], data.num_classes),
    )


def smaller_splits(data: "ImageDataModule", max_images: int) -> Splits:
    """Return at most so many training and validation images, of each class the same share.

    Raises:
        ValueError: If there would not be two images of each class.
    """
    if max_images < 2 * data.num_classes:
        raise ValueError(
            f"{max_images} images are too few for {data.num_classes} classes. Set --max_images "
            f"{20 * data.num_classes}."
        )
    return Splits(
        train=at_most(data.samples("train"), max_images),
        val=at_most(data.samples("val"), max_images),
    )
