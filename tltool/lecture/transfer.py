"""Transfer, two by two: how much data, and how like the pretraining's, decide what to train."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool.comparison.cross_validation import SplitRows, split_rows
from tltool.lecture.experiment import Experiment, Judgement, check_packages
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, means, where

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName

FROZEN = {"linear probe": 3, "last block": 2, "everything": 0, "from scratch": 0}
"""How many of the three blocks do not train, by what is trained."""
BATCH = 32
_WIDTHS = (16, 32, 64)


@dataclass(frozen=True)
class Transfer(Experiment):
    """A small network pretrained on half of the digits, transferred to others and to solar cells.

    It takes data of its own, whatever else is given: a pretrained network, data that are like those
    of its pretraining, as images of animals are like ImageNet's, and data that are not. Each
    strategy chooses its learning rate on images that do not report.

    Args:
        shares: Shares of the training images that are used, at least one image of each class.
        steps: Steps of a training.
        lrs: Learning rates of AdamW to choose from.
        seeds: Number of seeds, of pretraining, drawn images and new heads.
    """

    title = "Transfer, two by two"
    claim = (
        "On little data like the pretraining's train a linear classifier on top; with more data "
        "train more layers; little data unlike it are trouble, and much of it want most layers "
        "trained."
    )
    source = "CS231n; Yosinski et al., 2014, https://arxiv.org/abs/1411.1792"
    number = "best on the least and the most data: {best}"
    text = (
        "On the fewest {like} more layers than a probe's are worth {lead:+.3f} (two standard "
        "errors: {noise[0]:.3f}); on all {unlike} training everything is worth {gain:+.3f} "
        "({noise[1]:.3f}). `tltool plan --advise` places your images in this table."
    )
    panels = (
        Panel(
            "share of the training images",
            "accuracy",
            "strategy",
            title="like the pretraining",
            where={"similarity": "like"},
            log="x",
            ticks=True,
            level="chance",
        ),
        Panel(
            "share of the training images",
            "accuracy",
            "strategy",
            title="unlike it",
            where={"similarity": "unlike"},
            log="x",
            ticks=True,
            level="chance",
        ),
    )

    shares: Sequence[float] = (0.01, 0.1, 1.0)
    steps: int = 100
    lrs: Sequence[float] = (3e-3, 3e-2)
    seeds: int = 3

    def check(self) -> None:
        """See `Experiment`."""
        check_packages(self.name(), dict.fromkeys(("scikit-learn", "elpv-dataset"), "images"))

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; the problem is not looked at. First come the data that are like."""
        old, new, cells = load_data()
        networks = [self.pretrain(old, seed) for seed in range(self.seeds)]
        cases = product((new, cells), FROZEN, enumerate(networks), self.shares)
        return [
            {"data": target.name, "strategy": strategy, "seed": seed}
            | {"similarity": "like" if target is new else "unlike", "chance": target.chance}
            | {"share of the training images": share, "num_test": len(target.split.test)}
            | {"accuracy": self.transfer(network, target, strategy, share, seed=seed)}
            for target, strategy, (seed, network), share in cases
        ]

    def pretrain(self, source: Problem, seed: int) -> "SmallCNN":
        """Return a network trained on the source."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = SmallCNN(source.num_classes)
            train(network, *source.train, lr=self.lrs[0], steps=4 * self.steps, seed=seed)
        return network.eval()

    def transfer(
        self, network: "SmallCNN", target: Problem, strategy: str, share: float, *, seed: int
    ) -> float:
        """Return the accuracy on the test images, at the learning rate best on the others."""
        rows, _ = divide(target.split.train, target.labels, share, seed=seed)
        images, labels = target.features, target.labels
        found = []
        for lr in self.lrs:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                student = start(network, strategy, target.num_classes)
                train(student, images[rows], labels[rows], lr=lr, steps=self.steps, seed=seed)
            loss, _ = evaluate(student, target, target.split.val)
            found.append((loss if math.isfinite(loss) else math.inf, lr, student))
        _, _, best = min(found, key=lambda each: each[:2])
        return evaluate(best, target, target.split.test)[1]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: little like data want a probe, much unlike data want all layers.

        On the fewest data like the pretraining's nothing beats the linear probe, and on the most
        data unlike it training everything does, each beyond two standard errors of an accuracy.
        """
        share, (like, unlike) = "share of the training images", groups(rows, "data")
        places = min(self.shares), max(self.shares)
        (few, _), (_, many) = ends = [
            [means(where(rows, data=n, **{share: p}), "accuracy", by="strategy") for p in places]
            for n in (like, unlike)
        ]
        noise = [2 * math.sqrt(0.25 / where(rows, data=n)[0]["num_test"]) for n in (like, unlike)]
        lead = max(few["last block"], few["everything"]) - few["linear probe"]
        gain = many["everything"] - many["linear probe"]
        best = {
            f"{name}:": " and ".join(
                f"{max(e, key=e.__getitem__)} {max(e.values()):.3f}" for e in each
            )
            for name, each in zip((like, unlike), ends, strict=True)
        }
        return Judgement(
            {
                "on little like data nothing beats a probe": lead <= noise[0],
                "on much unlike data everything beats a probe": gain > noise[1],
            },
            {"best": best, "like": like, "unlike": unlike}
            | {"lead": lead, "gain": gain, "noise": noise},
        )


class SmallCNN(nn.Module):
    """Three blocks of a 3 x 3 convolution, batch norm and relu; averaged over the image.

    Args:
        num_classes: Number of classes.

    Shape:
        - Input: ``(B, 1, H, W)``
        - Output: ``(B, num_classes)``
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        shapes = zip((1, *_WIDTHS), _WIDTHS, (1, 2, 2), strict=False)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                )
                for inputs, outputs, stride in shapes
            )
        )
        self.output = nn.Linear(_WIDTHS[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.output(self.blocks(images).mean(dim=(2, 3)))
        return logits


def start(network: SmallCNN, strategy: str, num_classes: int) -> SmallCNN:
    """Return a copy with a new output layer, in which only what the strategy names will train."""
    if strategy == "from scratch":
        return SmallCNN(num_classes)
    student = copy.deepcopy(network)
    student.output = nn.Linear(_WIDTHS[-1], num_classes)
    for block in student.blocks[: FROZEN[strategy]]:
        block.requires_grad_(False)
    return student


def train(
    network: SmallCNN, images: Tensor, labels: Tensor, *, lr: float, steps: int, seed: int
) -> None:
    """Train what requires a gradient; frozen blocks stay in evaluation mode."""
    num_frozen = sum(not next(block.parameters()).requires_grad for block in network.blocks)
    with torch.no_grad():  # What is frozen is computed once.
        rows = network.blocks[:num_frozen].eval()(images)
    rest = network.blocks[num_frozen:].train()
    parameters = [*rest.parameters(), *network.output.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator, size = torch.Generator().manual_seed(seed), min(BATCH, len(rows))
    passes = math.ceil(steps * size / len(rows))
    order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(passes)])
    for index in torch.split(order[: steps * size], size):
        logits = network.output(rest(rows[index]).mean(dim=(2, 3)))
        functional.cross_entropy(logits, labels[index]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.no_grad()
def evaluate(network: SmallCNN, target: Problem, rows: Tensor) -> tuple[float, float]:
    """Return loss and accuracy on some rows."""
    logits, labels = network.eval()(target.features[rows]), target.labels[rows]
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    return float(functional.cross_entropy(logits, labels)), float(accuracy)


def divide(rows: Tensor, labels: Tensor, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return a share of the rows of each class at random, at least one of each, and the rest."""
    order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    taken, left = [], []
    for label in torch.unique(labels[rows]):
        members = order[labels[order] == label]
        number = max(round(share * len(members)), 1)
        taken.append(members[:number])
        left.append(members[number:])
    return torch.cat(taken), torch.cat(left)


def load_data() -> tuple[Problem, Problem, Problem]:
    """Return the pretraining's data, data like them, and data unlike them: ``(N, 1, H, W)``."""
    # Here, for they import Lightning, and a list of the experiments needs none.
    from tltool.data.datamodules.digits import DigitsDataModule
    from tltool.data.datamodules.elpv import ELPVDataModule

    digits = _read(DigitsDataModule, "digits", img_size=8, test_fraction=0.3)
    old, new = (
        replace(digits, split=replace(digits.split, train=half))
        for half in divide(digits.split.train, digits.labels, 0.5, seed=0)
    )
    return old, new, _read(ELPVDataModule, "solar cells", img_size=24)


def _read(
    make: "Callable[..., ImageDataModule]", name: str, *, img_size: int, **options: Any
) -> Problem:
    from tltool.features.cache import cached_features
    from tltool.models.backbone import Backbone

    backbone = Backbone("pixels", img_size=img_size, in_chans=1)
    data = make(data_config=backbone.data_config, **options)
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    found = {split: cached_features(backbone, data.dataset(split)) for split in splits}
    names = [split for split, each in found.items() for _ in range(len(each.tensor()))]
    images = torch.cat([each.tensor() for each in found.values()]).float()
    images = images.view(-1, 1, img_size, img_size)
    if img_size < 16:  # Three blocks halve it twice.
        images = functional.interpolate(images, size=16, mode="bilinear")
    labels = torch.cat([each.labels for each in found.values() if each.labels is not None])
    train, val, test = (split_rows(names, split) for split in splits)
    return Problem(name, images, labels, SplitRows(train, val, test, (0,)))
