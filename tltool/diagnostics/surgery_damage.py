"""Damage of surgery: what edits of a backbone do to its features, measured before training."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tltool._module_state import evaluation_mode
from tltool.data.datamodules.objective_options import need_one_class
from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.loading.samples import Splits
from tltool.diagnostics.advice.subsample import at_most
from tltool.evaluation.accuracy import AccuracyInterval, accuracy_interval
from tltool.evaluation.baselines import probe_correct
from tltool.evaluation.paired_differences import Difference, judge, number_groups
from tltool.features.extraction import extract_layer_features
from tltool.models.backbone import WHOLE, Backbone

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName

#: Of more images so many are probed and scored, the same share of each class.
MOST_TRAIN, MOST_VAL = 1000, 2000
NUM_DRIFT = 32
"""Images that a drift alone is measured on: its error is small beside that of a probe."""


class FeatureDrift(NamedTuple):
    """How far features have moved.

    Attributes:
        length: Of the difference, relative to that of the former features, over all images.
        cosine: Between the former features and the new ones, the mean over the images.
    """

    length: float
    cosine: float


def feature_drift(before: Tensor, after: Tensor) -> FeatureDrift:
    """Return how far features ``(N, C)`` have moved.

    Example:
        >>> features = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
        >>> feature_drift(features, 2 * features)
        FeatureDrift(length=1.0, cosine=1.0)
    """
    before, after = before.double(), after.double()
    length = (after - before).norm() / before.norm().clamp_min(1e-12)
    return FeatureDrift(length.item(), functional.cosine_similarity(before, after).mean().item())


@dataclass(frozen=True)
class SurgeryDamage:
    """A closed-form probe and the features of a backbone, before its edits and after them.

    Attributes:
        before: Whether the probe of the backbone without edits is right about each validation
            image, ``(N,)``.
        after: The same of the edited one.
        groups: The group of each image, where the data has groups.
        num_train: Number of training images that the probes are fitted on.
        drifts: By layer as in `Backbone.features_of_layers`, last the whole network; on the
            validation images.
    """

    before: Tensor
    after: Tensor
    groups: list[int] | None
    num_train: int
    drifts: Mapping[str, FeatureDrift]

    @property
    def accuracies(self) -> tuple[AccuracyInterval, AccuracyInterval]:
        """The accuracy before and after."""
        before, after = (accuracy_interval(each, self.groups) for each in (self.before, self.after))
        return before, after

    @property
    def difference(self) -> Difference:
        """The accuracy after the edits less that before, paired over the images."""
        correct = {"after": self.after[None], "before": self.before[None]}
        return judge(correct, "before", self.groups)[0]

    @property
    def is_within_noise(self) -> bool:
        """Whether a loss is not above its standard error, or a gain may well be chance.

        A loss is doubted less than a gain: who hears that nothing is lost looks no further.
        """
        estimate = self.difference.estimate
        if estimate.mean > 0:
            return not self.difference.is_finding
        return -estimate.mean <= estimate.standard_error


def measure_damage(backbone: Backbone, data: "ImageDataModule") -> SurgeryDamage:
    """Probe a backbone with its edits and without them, and compare the features of all layers.

    It costs two passes of at most `MOST_TRAIN` training and `MOST_VAL` validation images.

    Args:
        backbone: Edited and calibrated, on the device that computes.
        data: The images, with that backbone's ``data_config``.
    """
    need_one_class(data, "--measure_surgery")
    small = copy.copy(data)
    train, val = at_most(data.samples("train"), MOST_TRAIN), at_most(data.samples("val"), MOST_VAL)
    small.splits = Splits(train, val, data.splits.test)
    before, former = _probed(backbone.without_surgery(), small, "former")
    after, edited = _probed(backbone, small, "edited")
    drifts = {
        name: feature_drift(features, edited[name])
        for name, features in former.items()
        if name in edited
    }
    return SurgeryDamage(before, after, number_groups(val.groups), len(train), drifts)


def _probed(
    backbone: Backbone, data: "ImageDataModule", which: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return where a probe is right on validation images, and their features by layer."""

    def features(split: "SplitName") -> tuple[dict[str, Tensor], Tensor]:
        loader = data.evaluation_dataloader(split)
        words = f"{which} backbone, {split} images"
        return extract_layer_features(backbone, loader, description=words, total=len(loader))

    (train, train_labels), (val, val_labels) = features("train"), features("val")
    fitted, scored = (train[WHOLE], train_labels), (val[WHOLE], val_labels)
    return probe_correct(fitted, scored, data.num_classes), val


@torch.inference_mode()
def measure_drift(backbone: Backbone, data: "ImageDataModule") -> FeatureDrift:
    """Return how far edits move the features of `NUM_DRIFT` training images, drawn at random.

    It costs loading the weights once more, and a pass of these images through two networks. Torch's
    random numbers are left as they are.

    Args:
        backbone: Edited and calibrated, on the device that computes.
        data: The images, with that backbone's ``data_config``.
    """
    dataset = data.dataset("train")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    weight = next(backbone.parameters(), torch.empty(0))
    with torch.random.fork_rng(devices=[]):  # A dataset sets its own seeds.
        read = map_in_threads(
            lambda index: dataset[index]["image"], order[:NUM_DRIFT], description="images"
        )
        images = torch.stack(list(read)).to(weight.device, weight.dtype)
    former = backbone.without_surgery()
    with evaluation_mode(backbone), evaluation_mode(former):
        return feature_drift(former(images), backbone(images))
