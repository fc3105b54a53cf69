"""Transfer, two by two: how much data, and how like the pretraining's, decide what to train."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from tltool.comparison.cross_validation import SplitRows
from tltool.comparison.head_stack import TrainedHead, train_head_stack
from tltool.comparison.training_settings import TrainingSettings
from tltool.data.datamodules.stratified_split import split_stratified
from tltool.lecture.claim import Claim, Judgement
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Each, Row, groups, means, where
from tltool.lecture.training import final_val_loss

FROZEN = {"linear probe": 3, "last block": 2, "everything": 0, "from scratch": 0}
"""How many of the three blocks do not train, by what is trained."""
BATCH = 32
SHARE = "share of the training images"
LIKE = ClaimPanel(
    SHARE, "accuracy", "strategy", f"{SHARE}, like", "", {"data": "digits"}, ticks=True
)


@dataclass(frozen=True)
class Transfer(Claim):
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

    panels = (LIKE, replace(LIKE, xlabel=f"{SHARE}, unlike", where={"data": "solar cells"}))
    packages = ("scikit-learn", "elpv-dataset")

    shares: Sequence[float] = (0.01, 0.1, 1.0)
    steps: int = 100
    lrs: Sequence[float] = (3e-3, 3e-2)
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; the problem is not looked at. First come the data that are like."""
        digits, cells = load_data()
        old, new = (digits.with_train(rows) for rows in draw_share(digits, 0.5, seed=0))
        rows = []
        for seed in range(self.seeds):
            network = small_cnn(digits, seed=seed)
            (pretrained,) = train([network], old, self.lrs[:1], steps=4 * self.steps, seed=seed)
            network.load_state_dict(pretrained.state)
            for target, share, strategy in product((new, cells), self.shares, FROZEN):
                part = target.with_train(draw_share(target, share, seed=seed)[0])
                row = {"data": target.name, "strategy": strategy, "seed": seed, SHARE: share}
                row["accuracy"] = self.transfer(network, part, strategy, seed)
                rows.append(row | {"num_test": len(target.split.test)})
        return rows

    def transfer(self, network: nn.Sequential, target: Problem, strategy: str, seed: int) -> float:
        """Return the accuracy on the test images, at the learning rate best on the others."""
        target, student = self.student(network, target, strategy, seed=seed)
        heads = [copy.deepcopy(student) for _ in self.lrs]
        runs = train(heads, target, self.lrs, steps=self.steps, seed=seed)
        return float(min(runs, key=final_val_loss).correct.double().mean())

    @torch.no_grad()
    def student(
        self, network: nn.Sequential, target: Problem, strategy: str, *, seed: int
    ) -> tuple[Problem, nn.Sequential]:
        """Return the outputs of what is frozen, computed once, and the layers behind that train."""
        new, num = small_cnn(target, seed=seed), 1 + FROZEN[strategy]
        if strategy != "from scratch":
            new[1:4].load_state_dict(network[1:4].state_dict())
        rows = new[:num].eval()(target.features)
        rest = nn.Sequential(nn.Unflatten(1, rows.shape[1:]), *new[num:])
        return target.with_features(rows.flatten(1)), rest

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: little like data want a probe, much unlike data want all layers.

        On the fewest data like the pretraining's nothing beats the linear probe, and on the most
        data unlike it training everything does, each beyond two standard errors of an accuracy.
        """
        like, unlike = groups(rows, "data")

        def accuracies(data: str, share: float) -> Each:
            return means(where(rows, data=data, **{SHARE: share}), "accuracy", by="strategy")

        ends = {n: [accuracies(n, end(self.shares)) for end in (min, max)] for n in (like, unlike)}
        best = {f"{name}:": " and ".join(map(_best, each)) for name, each in ends.items()}
        noise = [1 / math.sqrt(where(rows, data=n)[0]["num_test"]) for n in (like, unlike)]
        few, many = ends[like][0], ends[unlike][1]
        lead = max(few["last block"], few["everything"]) - few["linear probe"]
        gain = many["everything"] - many["linear probe"]
        return Judgement(
            {
                "on little like data nothing beats a probe": lead <= noise[0],
                "on much unlike data everything beats a probe": gain > noise[1],
            },
            {"best": best, "lead": lead, "gain": gain, "noise": noise},
        )


def small_cnn(problem: Problem, *, seed: int) -> nn.Sequential:
    """Return a new network for square images: three blocks of a convolution, norm and relu.

    Shape:
        - Input: ``(B, H * W)``
        - Output: ``(B, num_classes)``
    """
    size = math.isqrt(problem.num_features)
    layers: list[nn.Module] = [nn.Unflatten(1, (1, size, size))]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for inputs, outputs, stride in ((1, 16, 1), (16, 32, 2), (32, 64, 2)):
            convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            layers.append(nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU()))
        output = nn.Linear(64, problem.num_classes)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)


def train(
    heads: Sequence[nn.Module], problem: Problem, lrs: Sequence[float], *, steps: int, seed: int
) -> list[TrainedHead]:
    """Train networks of one shape, each with a learning rate of its own, for so many steps."""
    rows = problem.split.train
    passes = math.ceil(steps * BATCH / len(rows))
    split = replace(problem.split, train=rows.repeat(passes)[: steps * BATCH])
    settings = TrainingSettings(epochs=1, batch_size=BATCH, warmup=0.0)
    data = (problem.features, problem.labels, split)
    return train_head_stack(heads, *data, lrs=lrs, seeds=[seed] * len(lrs), settings=settings)


def draw_share(problem: Problem, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return a share of the training rows of each class, at least one of each, and the rest."""
    rows = problem.split.train
    if share == 1:
        return rows, rows[:0]
    names, labels = [str(row) for row in rows.tolist()], problem.labels[rows].tolist()
    split = split_stratified(names, labels, {"few": share}, seed=seed)
    return rows[split["few"]], rows[split["train"]]


def load_data() -> list[Problem]:
    """Return digits and solar cells, with square images ``(N, H * W)`` as features."""
    # Here, for they import Lightning, and a list of the experiments needs none.
    from tltool.data.datamodules.digits import DigitsDataModule
    from tltool.data.datamodules.elpv import ELPVDataModule
    from tltool.features.cache import cached_features
    from tltool.models.backbone import Backbone

    problems = []
    # Three blocks halve the size twice.
    for make, name, size, share in (
        (DigitsDataModule, "digits", 16, 0.3),
        (ELPVDataModule, "solar cells", 24, 0.15),
    ):
        backbone = Backbone("pixels", img_size=size, in_chans=1)
        data = make(data_config=backbone.data_config, test_fraction=share)
        found = [cached_features(backbone, data.dataset(s)) for s in ("train", "val", "test")]
        labels = torch.cat([each.labels for each in found if each.labels is not None])
        rows = torch.split(torch.arange(len(labels)), [len(each.tensor()) for each in found])
        images = torch.cat([each.tensor() for each in found]).float()
        split = SplitRows(rows[0], rows[1], rows[2], (0,))
        problems.append(Problem(name, images, labels, split))
    return problems


def _best(accuracies: Mapping[str, float]) -> str:
    best = max(accuracies, key=accuracies.__getitem__)
    return f"{best} {accuracies[best]:.3f}"
