"""Transfer, two by two: how much data, and how like the pretraining's, decide what to train."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.small_cnn import (
    STRATEGIES,
    Images,
    SmallCNN,
    Strategy,
    draw,
    evaluate,
    split,
    start,
    train,
)

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule


class Target(NamedTuple):
    """A data set to transfer to."""

    name: str
    train: Images
    val: Images
    test: Images


@dataclass(frozen=True)
class Transfer(Experiment):
    """A small network pretrained on half of the digits, transferred to others and to solar cells.

    It takes data of its own, whatever else is given: a pretrained network, data that are like those
    of its pretraining, as photos of animals are like ImageNet's, and data that are not. Each
    strategy chooses its learning rate on photos that do not report.

    Args:
        shares: Shares of the training photos that are used, at least one photo of each class.
        steps: Steps of a training.
        rates: Learning rates of AdamW to choose from.
        seeds: Number of seeds, of pretraining, drawn photos and new heads.
    """

    title = "Transfer, two by two"
    claim = (
        "On little data like the pretraining's train a linear classifier on top; with more data "
        "train more layers; little data unlike it are trouble, and much of it want most layers "
        "trained."
    )
    source = "CS231n; Yosinski et al., 2014, https://arxiv.org/abs/1411.1792"

    shares: Sequence[float] = (0.01, 0.1, 1.0)
    steps: int = 100
    rates: Sequence[float] = (3e-3, 3e-2)
    seeds: int = 3

    def check(self) -> None:
        """See `Experiment`."""
        for name in ("scikit-learn", "elpv-dataset"):
            try:
                distribution(name)
            except PackageNotFoundError as error:
                raise ModuleNotFoundError(
                    f"The experiment Transfer takes photos from {name}, which is not installed. "
                    f"Type: pip install {name}"
                ) from error

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`; the problem is not looked at."""
        source, *targets = load_data()
        networks = [self.pretrain(source, seed) for seed in range(self.seeds)]
        accuracies = {
            target.name: {
                strategy: [
                    [
                        self.transfer(network, target, strategy, share, seed=seed)
                        for share in self.shares
                    ]
                    for seed, network in enumerate(networks)
                ]
                for strategy in STRATEGIES
            }
            for target in targets
        }
        return self._finding(targets, accuracies)

    def pretrain(self, source: Target, seed: int) -> SmallCNN:
        """Return a network trained on the source."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = SmallCNN(int(source.train.labels.max()) + 1)
            train(network, source.train, rate=self.rates[0], steps=4 * self.steps, seed=seed)
        return network.eval()

    def transfer(
        self, network: SmallCNN, target: Target, strategy: Strategy, share: float, *, seed: int
    ) -> float:
        """Return the accuracy on the test photos, at the rate that is best on the others."""
        drawn = draw(target.train, share, seed=seed)
        found = []
        for rate in self.rates:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                student = start(network, strategy, int(target.train.labels.max()) + 1)
                train(student, drawn, rate=rate, steps=self.steps, seed=seed)
            loss, _ = evaluate(student, target.val)
            found.append((loss if math.isfinite(loss) else math.inf, rate, student))
        _, _, best = min(found, key=lambda each: each[:2])
        return evaluate(best, target.test)[1]

    def _finding(
        self, targets: Sequence[Target], accuracies: Mapping[str, Mapping[Strategy, Any]]
    ) -> Finding:
        figure, panels = new_figure(len(targets))
        rows = []
        for axes, target, kind in zip(panels, targets, ("like", "unlike"), strict=True):
            for number, strategy in enumerate(STRATEGIES):
                values = accuracies[target.name][strategy]  # (S, shares)
                draw_series(axes, self.shares, values, label=strategy, number=number)
                rows += [
                    {"data": target.name, "strategy": strategy, "share": share, "seed": seed}
                    | {"accuracy": value}
                    for seed, each in enumerate(values)
                    for share, value in zip(self.shares, each, strict=True)
                ]
            counts = target.test.labels.bincount()
            axes.axhline(float(counts.max() / counts.sum()), color="0.5", linewidth=0.8)
            axes.set(xscale="log", xlabel="share of the training photos")
            axes.set_title(f"{kind} the pretraining: {target.name}", fontsize=10)
            axes.set_xticks(self.shares, [f"{share:.0%}" for share in self.shares])
        panels[0].set_ylabel("test accuracy (gray: by chance)")
        draw_legend(figure, panels[0])
        means = {
            target.name: {
                strategy: torch.tensor(values).mean(dim=0).tolist()
                for strategy, values in accuracies[target.name].items()
            }
            for target in targets
        }
        errors = {target.name: math.sqrt(0.25 / len(target.test.labels)) for target in targets}
        return Finding(*judge(means, errors), figure, rows)


def judge(
    means: Mapping[str, Mapping[Strategy, Sequence[float]]], errors: Mapping[str, float]
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    It holds if on the least similar data nothing beats the linear probe, and on the most dissimilar
    data training everything beats it, each beyond two standard errors.

    Args:
        means: Accuracy for each share, by strategy and data; first the similar data.
        errors: Standard error of an accuracy on the test photos, by data.
    """
    similar, dissimilar = means
    few, many = 0, -1
    deep: tuple[Strategy, ...] = ("last block", "everything")
    probe = means[similar]["linear probe"][few]
    lead_few = max(means[similar][strategy][few] for strategy in deep) - probe
    gain_many = means[dissimilar]["everything"][many] - means[dissimilar]["linear probe"][many]
    little = lead_few <= 2 * errors[similar]
    much = gain_many > 2 * errors[dissimilar]

    def best(name: str, place: int) -> str:
        strategy = max(STRATEGIES, key=lambda each: means[name][each][place])
        return f"{strategy} {means[name][strategy][place]:.3f}"

    number = (
        f"best on the least and the most data: {similar}: {best(similar, few)}, "
        f"{best(similar, many)}; {dissimilar}: {best(dissimilar, few)}, {best(dissimilar, many)}"
    )
    text = (
        f"On the fewest {similar} nothing "
        + ("beats" if little else "should beat")
        + " a linear probe beyond noise"
        + ("" if little else f", but training more layers is {lead_few:.3f} better")
        + f". On all {dissimilar} training everything is {gain_many:+.3f} against the probe (two "
        f"standard errors: {2 * errors[dissimilar]:.3f}). `tltool plan --advise` places your "
        "photos in this table."
    )
    return verdict_of([little, much]), number, text


def load_data() -> tuple[Target, Target, Target]:
    """Return the pretraining's data, data like them, and data unlike them."""
    # Here, for they import Lightning, and a list of the experiments needs none.
    from tltool.data.datamodules.digits import DigitsDataModule
    from tltool.data.datamodules.elpv import ELPVDataModule

    digits = _read(DigitsDataModule, img_size=8, test_fraction=0.3)
    old, new = (
        digits._replace(name="digits", train=half) for half in split(digits.train, 0.5, seed=0)
    )
    return old, new, _read(ELPVDataModule, img_size=24)._replace(name="solar cells")


def _read(make: "Callable[..., ImageDataModule]", *, img_size: int, **options: Any) -> Target:
    from tltool.features.cache import cached_features
    from tltool.models.backbone import Backbone

    backbone = Backbone("pixels", img_size=img_size, in_chans=1)
    data = make(data_config=backbone.data_config, **options)
    parts = []
    for part in ("train", "val", "test"):
        found = cached_features(backbone, data.dataset(part))
        assert found.labels is not None  # noqa: S101  # both data sets have them
        images = found.tensor().float().view(-1, 1, img_size, img_size)
        if img_size < 16:  # Three blocks halve it twice.
            images = functional.interpolate(images, size=16, mode="bilinear")
        parts.append(Images(images, found.labels))
    return Target(data.name or "", *parts)
