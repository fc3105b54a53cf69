"""Advice on a fine-tuning strategy from the images themselves: features, probes, learning curve."""

import copy
from typing import TYPE_CHECKING

from tltool._plain_text import plain_console
from tltool.data.datamodules.objective_options import need_one_class
from tltool.data.loading.samples import Splits
from tltool.diagnostics.advice.layer_probes import LayerProbes, probe_layers
from tltool.diagnostics.advice.learning_curve import LearningCurve, learning_curve
from tltool.diagnostics.advice.strategy_advice import Advice, advise
from tltool.diagnostics.advice.subsample import at_most
from tltool.features.extraction import extract_layer_features
from tltool.models.backbone import WHOLE, Backbone

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule

#: Of more training images so many are probed, the same share of each class.
MOST_IMAGES = 2000


def advise_on(
    backbone: Backbone, data: "ImageDataModule"
) -> tuple[Advice, LayerProbes, LearningCurve]:
    """Probe a frozen backbone on the training images, score on the validation images, and advise.

    Args:
        backbone: The network, with its weights.
        data: The images, with that backbone's ``data_config``.

    Returns:
        The advice, and what it rests on.
    """
    need_one_class(data, "Advice")
    counts, splits = data.train_class_counts, data.splits
    data = copy.copy(data)
    data.splits = Splits(at_most(data.samples("train"), MOST_IMAGES), splits.val, splits.test)
    found = {}
    for split in ("train", "val"):
        loader = data.evaluation_dataloader(split)
        found[split] = extract_layer_features(
            backbone, loader, description=f"features of the {split} images", total=len(loader)
        )
    train, val = found["train"], found["val"]
    whole, whole_val = ((layers[WHOLE], labels) for layers, labels in (train, val))
    with plain_console(stderr=True).status("probes"):
        probes = probe_layers(train, val, data.num_classes)
        curve = learning_curve(whole, whole_val, data.num_classes)
    majority = (val[1] == train[1].mode().values).double().mean().item()
    return advise(probes, curve, counts, majority=majority), probes, curve
