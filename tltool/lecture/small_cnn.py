"""A small network that is pretrained, and trained on in part."""

import copy
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 32
Strategy = Literal["linear probe", "last block", "everything", "from scratch"]
STRATEGIES: tuple[Strategy, ...] = ("linear probe", "last block", "everything", "from scratch")
_WIDTHS = (16, 32, 64)


class Images(NamedTuple):
    """A part of a data set: images ``(N, 1, H, W)`` and labels ``(N,)``."""

    images: Tensor
    labels: Tensor


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
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                )
                for inputs, outputs, stride in zip((1, *_WIDTHS), _WIDTHS, (1, 2, 2), strict=False)
            )
        )
        self.output = nn.Linear(_WIDTHS[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.output(self.blocks(images).mean(dim=(2, 3)))
        return logits


def start(network: SmallCNN, strategy: Strategy, num_classes: int) -> SmallCNN:
    """Return a copy with a new output layer, in which only what the strategy names will train."""
    if strategy == "from scratch":
        return SmallCNN(num_classes)
    student = copy.deepcopy(network)
    student.output = nn.Linear(_WIDTHS[-1], num_classes)
    frozen = {"linear probe": len(_WIDTHS), "last block": len(_WIDTHS) - 1, "everything": 0}
    for block in student.blocks[: frozen[strategy]]:
        block.requires_grad_(False)
    return student


def train(network: SmallCNN, data: Images, *, rate: float, steps: int, seed: int) -> None:
    """Train what requires a gradient; frozen blocks stay in evaluation mode."""
    num_frozen = sum(not next(block.parameters()).requires_grad for block in network.blocks)
    with torch.no_grad():  # What is frozen is computed once.
        rows = network.blocks[:num_frozen].eval()(data.images)
    rest = network.blocks[num_frozen:].train()
    parameters = [*rest.parameters(), *network.output.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for index in _batches(len(rows), steps, seed):
        logits = network.output(rest(rows[index]).mean(dim=(2, 3)))
        functional.cross_entropy(logits, data.labels[index]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.no_grad()
def evaluate(network: SmallCNN, data: Images) -> tuple[float, float]:
    """Return loss and accuracy."""
    logits = network.eval()(data.images)
    loss = functional.cross_entropy(logits, data.labels)
    return float(loss), float((logits.argmax(dim=1) == data.labels).double().mean())


def draw(data: Images, share: float, *, seed: int) -> Images:
    """Return a share of each class at random, at least one photo of each."""
    return split(data, share, seed=seed)[0]


def split(data: Images, share: float, *, seed: int) -> tuple[Images, Images]:
    """Return a share of each class at random, at least one photo of each, and the rest."""
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    labels = data.labels[order]
    taken, left = [], []
    for label in torch.unique(labels):
        members = order[labels == label]
        number = max(round(share * len(members)), 1)
        taken.append(members[:number])
        left.append(members[number:])
    parts = (torch.cat(taken), torch.cat(left))
    first, rest = (Images(data.images[index], data.labels[index]) for index in parts)
    return first, rest


def _batches(num_rows: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Yield the rows of each step: all of them in random order, again and again."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < min(BATCH, num_rows):
            order = torch.cat([order, torch.randperm(num_rows, generator=generator)])
        batch, order = order[:BATCH], order[BATCH:]
        yield batch
