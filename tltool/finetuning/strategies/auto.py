"""Auto: the strategy that the number of images, the device and the backbone call for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.full_finetuning import FullFinetuning
from tltool.finetuning.strategies.linear_probe import LPFT, LinearProbe
from tltool.finetuning.strategies.partial_finetuning import LastBlocks
from tltool.finetuning.strategies.strategy import FinetuningStrategy, is_final_norm

LAST_SHARE = 0.4
"""Most of the forward pass that the last groups take where the others are computed once: two groups
of efficientnet-lite0 and mobilenetv2, one of a ResNet or ConvNeXt."""
EPOCHS = 10
"""Length of a training that says nothing else."""
FEWEST_STEPS, MOST_EPOCHS = 150, 75
"""Of few images an epoch is of few optimizer steps: these are taken, in at most these epochs."""
FEW_PER_CLASS = 5
"""With fewer training images of a class the head alone has enough to learn."""
MANY_IMAGES = 2_000
"""From so many training images on a GPU trains everything; of fewer the last groups are enough."""
LAST_SCALE = 0.5
"""Factor on the learning rate of the last groups. At 1 training may diverge on its way up: the loss
of solar cells rises by two-thirds, at 0.5 by 7 % (`scripts/benchmark/README.md`)."""
FULL_SCALE = 0.3
"""Factor on the learning rate of the backbone where all of it trains."""
LAYER_NORM_SCALE = 0.1
"""Factor on the learning rate of a backbone without batch norms, most of which are transformers:
they are fine-tuned at 1e-4 and less (Steiner et al., 2021, https://arxiv.org/abs/2106.10270). From
the literature; none was measured."""


@dataclass(frozen=True)
class TrainingFacts:
    """What the choice of a strategy depends on.

    Attributes:
        num_images: Number of training images.
        num_classes: Number of classes.
        forward_shares: Share of the forward pass by group of the backbone, from the input on.
        has_batch_norm: Whether the backbone has batch norms.
        is_pretrained: Whether the weights are not random.
        on_gpu: Whether training is on a GPU.
        max_epochs: Length of training.
    """

    num_images: int
    num_classes: int
    forward_shares: Mapping[str, float]
    has_batch_norm: bool
    is_pretrained: bool
    on_gpu: bool
    max_epochs: int


@dataclass(frozen=True)
class Auto(FinetuningStrategy):
    """Let the number of images, the device and the backbone decide what trains.

    It is replaced by the strategy that it chooses before training begins, so that config.yaml,
    checkpoints and W&B hold that one, and a resumed run does not choose again:

    - random weights: `FullFinetuning`, with batch norms in training;
    - very few images of a class, or a backbone without parameters: `LinearProbe`;
    - otherwise, as on any CPU: `LastBlocks`, the last groups, on cached activations where the
      network can be cut in front of them. They are those that take at most two-fifths of the
      forward pass, and at least one;
    - on a GPU, with many images: `LPFT`, everything, on images.

    The augmentation becomes ``crop``, unless one is given, and a fifth of the training images is a
    tuning split, where the data have no test split and these are at least 60. See
    `tltool.finetuning.strategies.auto` for the numbers, and `scripts/benchmark/transfer.py` for
    what they were measured on.

    Example:
        >>> shares = {"backbone.stem": 0.3, "backbone.layer1": 0.4, "backbone.layer2": 0.3}
        >>> facts = TrainingFacts(500, 2, shares, True, True, on_gpu=False, max_epochs=10)
        >>> Auto().choose(facts)[0].num_groups
        1
    """

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`.

        Raises:
            ValueError: Always: it makes no schedule itself.
        """
        raise ValueError(
            "Auto chooses a strategy and has no schedule of its own. From Python, choose first: "
            "strategy, why = tltool.choose_strategy(task, data, max_epochs=10), and give that to "
            "Finetuning."
        )

    def choose(self, facts: TrainingFacts) -> tuple[FinetuningStrategy, str]:
        """Return the strategy for the facts, and the reason in words."""
        per_class = facts.num_images / facts.num_classes
        images = f"{facts.num_images:,} training images"
        if not facts.forward_shares:
            return LinearProbe(), "the backbone has no layers"
        if not facts.is_pretrained:
            return FullFinetuning(batch_norm="train"), "the weights are random"
        if per_class < FEW_PER_CLASS:
            return LinearProbe(), f"{images} are {per_class:.3g} of a class"
        if facts.on_gpu and facts.num_images >= MANY_IMAGES and facts.max_epochs > 1:
            scale = FULL_SCALE if facts.has_batch_norm else LAYER_NORM_SCALE
            return LPFT(backbone_lr_scale=scale), f"{images}, on a GPU"
        number, behind = count_last_groups(facts.forward_shares)
        scale = LAST_SCALE if facts.has_batch_norm else LAYER_NORM_SCALE
        return LastBlocks(number, backbone_lr_scale=scale), (
            f"{images}; the last groups take {behind:.0%} of a forward pass"
        )


def num_epochs(
    strategy: FinetuningStrategy, num_images: int, batch_size: int, *, num_accumulated: int = 1
) -> int:
    """Return how long a chosen strategy trains where nothing else is given.

    Args:
        strategy: The strategy.
        num_images: Number of training images.
        batch_size: Number of images in a batch of all devices.
        num_accumulated: Number of batches in an optimizer step.

    Example:
        >>> num_epochs(LastBlocks(), 1000, 32), num_epochs(LastBlocks(), 100, 32)
        (10, 50)
        >>> num_epochs(LastBlocks(), 1000, 32, num_accumulated=4)
        19
    """
    if isinstance(strategy, LinearProbe):
        return EPOCHS
    steps = math.ceil(max(round(num_images / batch_size), 1) / num_accumulated)
    return min(max(math.ceil(FEWEST_STEPS / steps), EPOCHS), MOST_EPOCHS)


def count_last_groups(shares: Mapping[str, float]) -> tuple[int, float]:
    """Return how many last groups take at most `LAST_SHARE` of a forward pass, and what they take.

    It is at least one. A final norm that is a group by itself is not counted, as in `LastBlocks`.

    Example:
        >>> count_last_groups({"backbone.a": 0.5, "backbone.b": 0.375, "backbone.norm": 0.125})
        (1, 0.5)
    """
    number, taken = 0, 0.0
    for group, share in reversed(list(shares.items())):
        if number and taken + share > LAST_SHARE:
            break
        taken += share
        number += not is_final_norm(group)
    return number, taken
