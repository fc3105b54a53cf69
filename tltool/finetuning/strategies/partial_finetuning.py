"""Partial fine-tuning: the last layer groups, the normalization layers, or the biases."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.finetuning.phase import BatchNormMode
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.strategy import EVERYTHING, WarmupDecayStrategy, is_final_norm


def last_groups(backbone: Sequence[str], num_groups: int) -> tuple[str, ...]:
    """Return the last groups of a backbone; a final norm comes along and is not counted.

    Raises:
        ValueError: If there are not so many.

    Example:
        >>> last_groups(["backbone.stem", "backbone.layers.0", "backbone.norm"], 1)
        ('backbone.layers.0', 'backbone.norm')
    """
    counted = [group for group in backbone if not is_final_norm(group)]
    if not 1 <= num_groups <= len(counted):
        raise ValueError(
            f"`num_groups` must be from 1 to {len(counted)}, the groups of this backbone, got "
            f"{num_groups}. For none of them use LinearProbe."
        )
    return tuple(backbone[backbone.index(counted[-num_groups]) :])


@dataclass(frozen=True)
class LastBlocks(WarmupDecayStrategy):
    """Train the head and the last layer groups of the backbone; the others stay frozen.

    How many layers transfer as they are depends on how far the data are from those of the
    pretraining (Yosinski et al., 2014, https://arxiv.org/abs/1411.1792). It is the cheapest that
    gains over a probe, for what is in front is computed once: one group has .941 on 244 photographs
    (probe .922), two have .934 on 959 brain scans (.810), as `Auto` trains them (three seeds). One
    group has the most of all strategies on 10 images of each of ten kinds of clothes (.783, .753),
    and on 999 solar cells the most but for `LoRA` (.661, .673, .606). On 997 digits, of which a
    random crop is another sign, one group has .926 and without crops .958, a probe .938
    (`scripts/benchmark/README.md`).

    Args:
        num_groups: How many groups of the backbone train. A final norm that is a group by itself
            comes along and is not counted.
        backbone_lr_scale: Factor on the learning rate of the backbone. `Auto` takes 0.5 for two
            groups: at 1 they diverge on solar cells, and 0.3 is not better on four sets.
        batch_norm: What batch norms do in these groups, see `Phase`.

    Example:
        >>> groups = ["backbone.stem", "backbone.layers.0", "backbone.norm", "head"]
        >>> LastBlocks(1).schedule(groups, max_epochs=5).phases[0].trains
        ('backbone.layers.0', 'backbone.norm', 'head')
    """

    num_groups: int = 1
    backbone_lr_scale: float = 0.3
    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        backbone = [group for group in group_names if group != "head"]
        trains = last_groups(backbone, self.num_groups)
        scale = dict.fromkeys(trains, self.backbone_lr_scale)
        options = {"lr_scale": scale, "batch_norm": self.batch_norm}
        phase = self._phase("last", (*trains, "head"), **options)
        return Schedule((phase,), frozen=tuple(backbone[: -len(trains)]))


@dataclass(frozen=True)
class BatchNormOnly(WarmupDecayStrategy):
    """Train the head and the normalization layers of the backbone.

    Scales and shifts alone, less than one parameter in a hundred, adapt even random features
    (Frankle et al., 2020, https://arxiv.org/abs/2003.00152). In a transformer these are its layer
    norms. With .871 on 959 brain scans and .935 on 244 photographs (probe .810 and .922) it gains
    a part of what full fine-tuning does, with 1.3 % of the parameters, more than it on 10 images of
    each of ten kinds of clothes (.780, full .770, probe .753), and nothing on 997 digits (.935,
    probe .938; `scripts/benchmark/README.md`).

    Args:
        batch_norm: What batch norms do, see `Phase`.
    """

    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        options = {"parameters": "norms", "batch_norm": self.batch_norm}
        return Schedule((self._phase("norms", EVERYTHING, **options),))


@dataclass(frozen=True)
class BitFit(WarmupDecayStrategy):
    """Train the head and the biases of the backbone.

    Made for transformers, where biases are about one parameter in a thousand (Ben Zaken et al.,
    2021, https://arxiv.org/abs/2106.10199). Most convolutional networks have biases in their norms
    only, and there it does somewhat less than `BatchNormOnly` with half of the parameters: .851 on
    959 brain scans and .928 on 244 photographs (`scripts/benchmark/README.md`).

    Args:
        batch_norm: What batch norms do, see `Phase`.
    """

    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        options = {"parameters": "biases", "batch_norm": self.batch_norm}
        return Schedule((self._phase("biases", EVERYTHING, **options),))
