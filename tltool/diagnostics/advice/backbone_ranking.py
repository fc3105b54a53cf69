"""Ranking of backbones on a data set: frozen features, a closed-form probe and LogME."""

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from tltool.data.datamodules.objective_options import need_one_class
from tltool.data.loading.samples import Splits
from tltool.diagnostics.advice.logme import logme
from tltool.diagnostics.advice.subsample import at_most
from tltool.features.extraction import extract_features
from tltool.models.backbone import Backbone
from tltool.models.ridge_probe import fit_ridge_probe
from tltool.models.weights.local_weights import LocalWeights

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule


class Suitability(NamedTuple):
    """What the frozen features of a backbone say before any training.

    Attributes:
        accuracy: Accuracy of a closed-form probe on the images that validate.
        num_images: Number of these images.
        logme: LogME of the images that train; larger is better.
    """

    accuracy: float
    num_images: int
    logme: float

    @property
    def standard_error(self) -> float:
        """The standard error of the accuracy, from the number of images.

        Where the probe is right on all of them, or on none, it is half of 3/N, see `estimate`.
        """
        if self.accuracy in {0.0, 1.0}:
            return 1.5 / self.num_images
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.num_images)

    @property
    def order(self) -> tuple[float, float]:
        """The place in a ranking, the best first: by accuracy, and of equal ones by LogME."""
        return -self.accuracy, -self.logme


class RankedBackbone(NamedTuple):
    """A backbone and how well it suits the images.

    Attributes:
        weights: The backbone and where its weights are.
        num_parameters: Its size, without the classifier.
        input_size: Channels, height and width of the images that it sees.
        images_per_second: How fast it was, the decoding of the images included.
        suitability: See `Suitability`.
    """

    weights: LocalWeights
    num_parameters: int
    input_size: list[int]
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
    need_one_class(data, "The ranking of backbones")
    backbone = Backbone(weights.name, weights.weights)
    data.data_config = backbone.data_config
    start, found = time.perf_counter(), {}
    for split in ("train", "val"):
        loader = data.evaluation_dataloader(split)
        found[split] = extract_features(
            backbone, loader, description=f"{weights.name}, {split} images", total=len(loader)
        )
    count = sum(len(labels) for _, labels in found.values())
    seconds = time.perf_counter() - start
    return RankedBackbone(
        weights,
        sum(parameter.numel() for parameter in backbone.parameters()),
        backbone.data_config["input_size"],
        count / seconds,
        measure_suitability(found["train"], found["val"], data.num_classes),
    )


def measure_suitability(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], num_classes: int
) -> Suitability:
    """Return what frozen features say about how well a backbone suits the data.

    See `fit_ridge_probe` and `logme`.

    Args:
        train: Features ``(N, D)`` and labels ``(N,)`` of the images that train.
        val: Those of the images that validate.
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 1]).repeat(10)
        >>> features = torch.nn.functional.one_hot(labels).double()
        >>> noisy = features + 0.1 * torch.randn(20, 2)
        >>> measure_suitability((noisy, labels), (features, labels), 2).accuracy
        1.0
    """
    features, labels = val
    predicted = fit_ridge_probe(*train, num_classes).predict(features)
    accuracy = (predicted == labels).double().mean().item()
    return Suitability(accuracy, len(labels), logme(*train, num_classes))


def smaller_splits(data: "ImageDataModule", max_images: int) -> Splits:
    """Return at most so many training and validation images, of each class the same share.

    Raises:
        ValueError: If there would not be two images of each class.
    """
    if max_images < 2 * data.num_classes:
        fix = f"Set --max_images {20 * data.num_classes}."
        raise ValueError(f"{max_images} images are too few for {data.num_classes} classes. {fix}")
    train, val = (at_most(data.samples(split), max_images) for split in ("train", "val"))
    return Splits(train, val)
