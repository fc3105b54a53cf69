"""Fine-tuning strategies: each makes a schedule from the model's layer groups."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.finetuning.phase import BatchNormMode, Decay, Phase
from tltool.finetuning.schedule import Schedule

EVERYTHING = ("backbone.*", "head")
"""Patterns of all layer groups."""


class FinetuningStrategy:
    """A recipe for what trains when.

    Subclass it as a frozen dataclass, so that its fields are its configuration. (This class itself
    is none: jsonargparse treats a dataclass as a closed type, of which subclasses cannot be named
    in YAML.) Give a field that another strategy has too the same default, for the command line
    keeps the value when the class changes.
    """

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """Return the phases of a training.

        Args:
            group_names: Layer groups from the input on, ``backbone.<group>`` and then ``head``.
            max_epochs: Length of training in epochs.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `schedule(group_names, max_epochs)`."
        )

    def resolved_schedule(self, group_names: Sequence[str], max_epochs: int | None) -> Schedule:
        """Return the schedule for a model and a length of training, checked against both.

        Args:
            group_names: See `schedule`.
            max_epochs: That of a Trainer, where ``None`` and negative numbers stand for no end.

        Raises:
            ValueError: If there is no end, or the schedule does not fit, see `Schedule.resolve`.
        """
        if max_epochs is None or max_epochs < 0:
            raise ValueError(
                "Phases are counted in epochs, but the Trainer has no `max_epochs`. Set "
                "--trainer.max_epochs; `max_steps` may end training earlier."
            )
        return self.schedule(group_names, max_epochs).resolve(group_names, max_epochs)


@dataclass(frozen=True)
class LinearProbe(FinetuningStrategy):
    """Train the head alone, on features of a frozen backbone.

    How well such a probe does tells how good the features are (Alain & Bengio, 2016,
    https://arxiv.org/abs/1610.01644). It cannot distort them, and suits small data.

    Args:
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.

    Example:
        >>> LinearProbe().schedule(["backbone.stem", "head"], max_epochs=5).phases[0].trains
        ('head',)
    """

    warmup: float = 0.1
    decay: Decay = "cosine"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        phase = Phase("probe", ("head",), warmup=self.warmup, decay=self.decay)
        # A backbone without parameters (pixels) has no group to freeze.
        return Schedule((phase,), frozen=("backbone.*",) if len(group_names) > 1 else ())


@dataclass(frozen=True)
class FullFinetuning(FinetuningStrategy):
    """Train the backbone and the head together, from the first step.

    Pretrained layers do best when they are fine-tuned (Yosinski et al., 2014,
    https://arxiv.org/abs/1411.1792); the warmup keeps the first gradients of an untrained head from
    spoiling them (Goyal et al., 2017, section 2.2, https://arxiv.org/abs/1706.02677). On 244 and
    600 photos it did worse than a linear probe (`scripts/benchmark/strategies.py`): it wants more.

    Args:
        backbone_lr_scale: Factor on the learning rate of the backbone; below 1 it stays nearer to
            its pretrained weights than the head to its random ones.
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.
        batch_norm: What batch norms do, see `Phase`.

    Example:
        >>> FullFinetuning().schedule(["backbone.stem", "head"], max_epochs=5).phases[0].trains
        ('backbone.*', 'head')
    """

    backbone_lr_scale: float = 1.0
    warmup: float = 0.1
    decay: Decay = "cosine"
    batch_norm: BatchNormMode = "train"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        phase = Phase(
            "full",
            EVERYTHING,
            lr_scale={"backbone.*": self.backbone_lr_scale},
            warmup=self.warmup,
            decay=self.decay,
            batch_norm=self.batch_norm,
        )
        return Schedule((phase,))


@dataclass(frozen=True)
class LPFT(FinetuningStrategy):
    """First a linear probe, then full fine-tuning from there.

    A head that fits the features already does not distort them when the backbone begins to train,
    which helps most on data unlike the training data (Kumar et al., 2022,
    https://arxiv.org/abs/2202.10054). On 244 and 600 photos and in 6 epochs it did not help: the
    second phase lost what the probe had won (`scripts/benchmark/strategies.py`).

    Args:
        probe_epochs: Length of the probe; ``None`` for a third of the training.
        full_lr_scale: Factor on the learning rate after the probe.
        warmup: Share of the second phase over which its learning rate rises from zero, in [0, 1).
        decay: How the learning rate falls in each phase.
        batch_norm: What batch norms do in the second phase, see `Phase`.

    Example:
        >>> schedule = LPFT(probe_epochs=2).schedule(["backbone.stem", "head"], max_epochs=8)
        >>> [(phase.name, phase.trains) for phase in schedule.phases]
        [('probe', ('head',)), ('full', ('backbone.*', 'head'))]
    """

    probe_epochs: int | None = None
    full_lr_scale: float = 0.1
    warmup: float = 0.1
    decay: Decay = "cosine"
    batch_norm: BatchNormMode = "train"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        epochs = max(max_epochs // 3, 1) if self.probe_epochs is None else self.probe_epochs
        if epochs >= max_epochs:
            raise ValueError(
                f"LPFT probes for {epochs} of {max_epochs} epochs, so nothing is left for "
                "fine-tuning. Raise `max_epochs`, or use LinearProbe."
            )
        full = Phase(
            "full",
            EVERYTHING,
            lr_scale=self.full_lr_scale,
            warmup=self.warmup,
            decay=self.decay,
            batch_norm=self.batch_norm,
        )
        return Schedule((Phase("probe", ("head",), epochs=epochs, decay=self.decay), full))


@dataclass(frozen=True)
class GradualUnfreezing(FinetuningStrategy):
    """Train the head, then unfreeze one more layer group every few epochs, from the head down.

    Layers near the input hold the most general features, so they change last (Howard & Ruder, 2018,
    section 3.3, https://arxiv.org/abs/1801.06146). Groups that the training is too short for stay
    frozen, and a log line names them. On 244 and 600 photos it did better than full fine-tuning or
    as well, and worse than a linear probe (`scripts/benchmark/strategies.py`).

    Args:
        epochs_per_group: Length of each phase but the last, which lasts for the rest of training.
        num_groups: How many groups of the backbone are unfrozen in the end; ``None`` for as many as
            the training has room for.
        backbone_lr_scale: Factor on the learning rate of the backbone.
        warmup: Share of each phase over which its learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls in each phase.
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
    backbone_lr_scale: float = 1.0
    warmup: float = 0.1
    decay: Decay = "cosine"
    batch_norm: BatchNormMode = "train"

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
        phases = [
            self._phase(group_names, number, last=number == count) for number in range(count + 1)
        ]
        intended = group_names[: available - count] if self.num_groups is not None else ()
        return Schedule(tuple(phases), frozen=tuple(intended))

    def _phase(self, group_names: Sequence[str], number: int, *, last: bool) -> Phase:
        """Return the phase in which so many groups of the backbone train."""
        trains = tuple(group_names[len(group_names) - 1 - number :])
        return Phase(
            trains[0].removeprefix("backbone."),
            trains,
            epochs=None if last else self.epochs_per_group,
            lr_scale=dict.fromkeys(trains[:-1], self.backbone_lr_scale),
            warmup=self.warmup,
            decay=self.decay,
            batch_norm=self.batch_norm,
        )


@dataclass(frozen=True)
class LayerwiseDecay(FinetuningStrategy):
    """Train everything, with a smaller learning rate for each layer further from the head.

    As vision transformers are fine-tuned after masked pretraining (Bao et al., 2021,
    https://arxiv.org/abs/2106.08254), from discriminative fine-tuning (Howard & Ruder, 2018,
    section 3.2, https://arxiv.org/abs/1801.06146). Layers and rates are those of timm. On a
    convolutional network with 244 and 600 photos it did not help
    (`scripts/benchmark/strategies.py`).

    Args:
        layer_decay: Factor from each layer to the next one towards the input, in ``(0, 1)``.
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.
        batch_norm: What batch norms do, see `Phase`.
    """

    layer_decay: float = 0.75
    warmup: float = 0.1
    decay: Decay = "cosine"
    batch_norm: BatchNormMode = "train"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        phase = Phase(
            "layerwise",
            EVERYTHING,
            layer_decay=self.layer_decay,
            warmup=self.warmup,
            decay=self.decay,
            batch_norm=self.batch_norm,
        )
        return Schedule((phase,))


@dataclass(frozen=True)
class ChosenGroups(FinetuningStrategy):
    """Phases that are written out.

    Args:
        phases: See `Phase`.
        frozen: Layer groups that are meant never to train; others that no phase trains are
            reported.

    Example:
        >>> phases = (Phase("head", (-1,), epochs=2), Phase("top", (-1, -2), lr_scale=0.1))
        >>> len(ChosenGroups(phases).schedule(["backbone.stem", "head"], max_epochs=5).phases)
        2
    """

    phases: tuple[Phase, ...]
    frozen: tuple[int | str, ...] = ()

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        return Schedule(self.phases, frozen=self.frozen)
