"""Gradual unfreezing, one layer group after the other from the head down."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.finetuning.phase import BatchNormMode
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.strategy import WarmupDecayStrategy


@dataclass(frozen=True)
class GradualUnfreezing(WarmupDecayStrategy):
    """Train the head, then unfreeze one more layer group every few epochs, from the head down.

    Layers near the input hold the most general features, so they change last (Howard & Ruder, 2018,
    section 3.3, https://arxiv.org/abs/1801.06146). As there, the learning rate rises and falls once
    over the whole training: ``warmup`` is a share of it, and each phase takes its part. Groups that
    the training is too short for stay frozen, and a log line names them. The field expects it by
    name; in 10 epochs it did as well as a probe on 244 photographs (.922) and less well than
    `FullFinetuning` on 959 brain scans (.915, full .939, probe .810) and 997 digits (.973, .983,
    .938), and is the best on none of ten sets (`scripts/benchmark/README.md`).

    Args:
        epochs_per_group: Length of each phase but the last, which lasts for the rest of training.
        num_groups: How many groups of the backbone are unfrozen in the end; ``None`` for as many as
            the training has room for.
        backbone_lr_scale: Factor on the learning rate of the backbone.
        batch_norm: What batch norms do in unfrozen groups, see `Phase`.

    Example:
        >>> groups = ["backbone.stem", "backbone.layer1", "head"]
        >>> for phase in GradualUnfreezing().schedule(groups, max_epochs=5).phases:
        ...     print(phase.name, *phase.trains)
        head head
        layer1 backbone.layer1 head
        stem backbone.stem backbone.layer1 head
    """

    epochs_per_group: int = 1
    num_groups: int | None = None
    backbone_lr_scale: float = 0.3
    batch_norm: BatchNormMode = "eval"

    def __post_init__(self) -> None:
        if self.epochs_per_group < 1:
            raise ValueError(
                f"`epochs_per_group` must be at least 1, got {self.epochs_per_group}. To train "
                "everything from the start, use FullFinetuning."
            )
        if self.num_groups is not None and self.num_groups < 1:
            raise ValueError(
                f"`num_groups` must be at least 1, got {self.num_groups}. To train the head alone, "
                "use LinearProbe."
            )

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        room = (max_epochs - 1) // self.epochs_per_group
        available = len(group_names) - 1
        count = min(room, available) if self.num_groups is None else self.num_groups
        if count > available:
            raise ValueError(
                f"`num_groups` is {count}, but the backbone has {available} layer groups. Set it "
                f"to at most {available}."
            )
        if count > room:
            raise ValueError(
                f"`num_groups` {count} with `epochs_per_group` {self.epochs_per_group} takes more "
                f"than {count * self.epochs_per_group} epochs, and training lasts {max_epochs}. "
                "Raise `max_epochs`, or lower one of the two."
            )
        phases = []
        for number in range(count + 1):
            trains = tuple(group_names[available - number :])
            name = trains[0].removeprefix("backbone.")
            epochs = self.epochs_per_group if number < count else None
            scale = dict.fromkeys(trains[:-1], self.backbone_lr_scale)
            start = number * self.epochs_per_group / max_epochs
            end = (number + 1) * self.epochs_per_group / max_epochs if epochs else 1.0
            options = {"epochs": epochs, "lr_scale": scale, "batch_norm": self.batch_norm}
            phases.append(self._phase(name, trains, cycle=(start, end), **options))
        intended = group_names[: available - count] if self.num_groups is not None else ()
        return Schedule(tuple(phases), frozen=tuple(intended))
