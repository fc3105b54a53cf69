"""A phase of training: what trains in it, for how long, and how fast."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from tltool._lookup import lookup
from tltool._objective import check_mode

#: How a learning rate falls.
Decay = Literal["none", "cosine", "linear"]

#: Which parameters inside a layer group.
ParameterKind = Literal["all", "norms", "biases", "adapters", "adapters_and_norms"]

#: What batch norms do in groups that train.
BatchNormMode = Literal["train", "eval", "adapt", "frozen"]
KEEPS_STATISTICS: frozenset[BatchNormMode] = frozenset({"eval", "frozen"})
KEEPS_WEIGHTS: frozenset[BatchNormMode] = frozenset({"adapt", "frozen"})

_DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
}


@dataclass(frozen=True)
class Until:
    """The end of a phase that a metric decides: when it stops improving.

    Args:
        metric: Name that the task logs in validation, for example ``val/loss``.
        max_epochs: The phase ends after so many epochs at the latest. Warmup and decay run over
            them.
        patience: The phase ends with the epoch in which so many validations in a row brought no
            improvement.
        mode: Whether the metric should become small (``min``) or large (``max``).
        min_delta: A smaller change is no improvement.

    Raises:
        ValueError: If a value is out of its range, or the metric is known to be better the other
            way.

    Example:
        >>> until = Until("val/loss", max_epochs=10, min_delta=0.1)
        >>> until.improves(0.5, best=None), until.improves(0.45, best=0.5)
        (True, False)
    """

    metric: str
    max_epochs: int
    patience: int = 3
    mode: Literal["min", "max"] = "min"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.max_epochs < 1 or self.patience < 1:
            raise ValueError(
                f"`until` {self.metric!r} has `max_epochs` {self.max_epochs} and `patience` "
                f"{self.patience}. Give each at least 1."
            )
        lookup({"min": 0, "max": 0}, self.mode, kind="mode")
        check_mode("`until`", self.metric, self.mode)
        if self.min_delta < 0:
            raise ValueError(f"`min_delta` must not be negative, got {self.min_delta}.")

    def improves(self, value: float, best: float | None) -> bool:
        """Tell whether ``value`` is better than ``best``; NaN never is."""
        if best is None:
            return not math.isnan(value)
        gain = best - value if self.mode == "min" else value - best
        return gain > self.min_delta


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same parameters train.

    Groups are addressed by name (``head``, ``backbone.layer4``), by pattern (``backbone.*``) or by
    number from either end (``0`` is next to the input, ``-1`` is the head).

    Args:
        name: Shown in logs and plans; unique in its schedule.
        trains: Layer groups that train. All others are frozen.
        epochs: Length in epochs. Without a length, a phase lasts for the rest of training.
        steps: Length in optimizer steps instead.
        until: End by a metric instead.
        parameters: Which parameters of the trained groups train: ``all``, those of normalization
            layers, the biases, adapters (see `add_lora`), or ``adapters_and_norms``. A word is
            about the backbone, and a head trains as a whole; a mapping says it for each group, and
            one that is not listed trains as a whole.
        lr_scale: Factor on the optimizer's learning rate: one number, or a number for each group;
            one that is not listed keeps 1.0.
        layer_decay: Further factor for each layer between a parameter and the head, in ``(0, 1]``;
            1.0 for the same in all layers. Layers are finer than groups: single blocks.
        warmup: Share of the phase over which the learning rate rises linearly from zero; in [0, 1).
            With a ``cycle`` a share of all of it.
        decay: How the learning rate falls to zero after the warmup: not at all, by half a cosine
            (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983), or linearly.
        cycle: The part of warmup and decay that the phase takes, in shares, where several phases
            have one cycle together: (0, 0.5) in the first of two, (0.5, 1) in the second.
        batch_norm: What batch norms do in groups of the backbone that train; those of the head,
            which are new, always train with it. ``train``: normalize by the batch,
            update the running statistics, and train their weights. ``eval``: normalize by the
            running statistics, which stay, as in evaluation, and train their weights. ``adapt``:
            normalize by the batch and update the running statistics, with fixed weights.
            ``frozen``: normalize by the running statistics; nothing changes. In frozen groups they
            are frozen.
        start_from_best: Begin with the best weights of the phase before, which must end by a
            metric.

    Raises:
        ValueError: If a value is out of its range, or two lengths are given.

    Example:
        >>> phase = Phase("probe", trains=("head",), epochs=3, warmup=0.5, decay="linear")
        >>> [phase.lr_factor(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    name: str
    trains: tuple[int | str, ...]
    epochs: int | None = None
    steps: int | None = None
    until: Until | None = None
    parameters: ParameterKind | dict[str, ParameterKind] = "all"
    lr_scale: float | dict[str, float] = 1.0
    layer_decay: float = 1.0
    warmup: float = 0.0
    decay: Decay = "none"
    cycle: tuple[float, float] = (0.0, 1.0)
    batch_norm: BatchNormMode = "eval"
    start_from_best: bool = False

    def __post_init__(self) -> None:
        trains = (self.trains,) if isinstance(self.trains, int | str) else tuple(self.trains)
        object.__setattr__(self, "trains", trains)
        object.__setattr__(self, "cycle", tuple(self.cycle))
        self._require("trains", bool(trains), "Name at least one layer group, for example 'head'.")
        self._check_length()
        needed = "It is a share of the phase, in [0, 1): for one tenth of its steps set 0.1."
        self._require("warmup", 0 <= self.warmup < 1, needed)
        start, end = self.cycle
        needed = "Give its start and its end, for example [0, 0.5], both in [0, 1]."
        self._require("cycle", 0 <= start < end <= 1, needed)
        needed = "It must be in (0, 1]. Usual values are 0.65 to 0.9; 1.0 is the same for all."
        self._require("layer_decay", 0 < self.layer_decay <= 1, needed)
        scales = self.lr_scale.values() if isinstance(self.lr_scale, dict) else [self.lr_scale]
        positive = all(scale > 0 and math.isfinite(scale) for scale in scales)
        needed = "It must be positive. To freeze a group, leave it out of `trains`."
        self._require("lr_scale", positive, needed)
        lookup(_DECAYS, self.decay, kind="decay")
        kinds = self.parameters
        for kind in kinds.values() if isinstance(kinds, dict) else [kinds]:
            lookup(dict.fromkeys(get_args(ParameterKind)), kind, kind="parameters")
        lookup(dict.fromkeys(get_args(BatchNormMode)), self.batch_norm, kind="batch_norm")

    def _check_length(self) -> None:
        given = [f"`{f}`" for f in ("epochs", "steps", "until") if getattr(self, f) is not None]
        if len(given) > 1:
            raise ValueError(
                f"Phase {self.name!r} has {' and '.join(given)}, but one length is enough. Keep "
                "one of them."
            )
        for field, length in (("epochs", self.epochs), ("steps", self.steps)):
            needed = "Give it at least 1, or leave the phase out."
            self._require(field, length is None or length >= 1, needed)

    def _require(self, field: str, holds: bool, remedy: str) -> None:
        if not holds:
            value = getattr(self, field)
            raise ValueError(f"Phase {self.name!r} has `{field}` {value!r}. {remedy}")

    def lr_factor(self, progress: float) -> float:
        """Return the factor of warmup and decay, in ``[0, 1]``.

        Args:
            progress: Share of the phase that is done, in ``[0, 1]``.
        """
        start, end = self.cycle
        done = start + (end - start) * progress
        if done < self.warmup:
            return done / self.warmup
        return _DECAYS[self.decay]((done - self.warmup) / (1 - self.warmup))

    @property
    def highest_factor(self) -> float:
        """The most that `lr_factor` comes to in the phase."""
        start, end = self.cycle
        top = (self.warmup - start) / (end - start)  # The progress at which the warmup is over.
        return self.lr_factor(min(max(top, 0.0), 1.0))

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups that train, in a resolved phase."""
        return tuple(str(group) for group in self.trains)

    @property
    def is_open(self) -> bool:
        """Whether the phase has no length and lasts for the rest of training."""
        return self.epochs is None and self.steps is None and self.until is None

    def describe_groups(self, num_groups: int) -> str:
        """Return the trained groups of a resolved phase in words."""
        kinds = {group: self.group_parameters(group) for group in self.groups}
        which = [g if kind == "all" else f"{kind} of {g}" for g, kind in kinds.items()]
        if len(which) == num_groups and len(set(kinds.values())) == 1:
            return "everything"
        if len(which) <= 4:
            return ", ".join(which)
        return f"{which[0]} to {which[-1]} ({len(which)} of {num_groups} groups)"

    def describe_length(self) -> str:
        """Return the length in words."""
        if self.until:
            at_most = _plural(self.until.max_epochs, "epoch")
            return f"until {self.until.metric} stops improving (at most {at_most})"
        if self.is_open:
            return "for the rest of training"
        return f"for {_plural(self.steps, 'step') if self.steps else _plural(self.epochs, 'epoch')}"

    def group_lr_scale(self, group: str, depth: int = 0) -> float:
        """Return the factor of ``lr_scale`` and ``layer_decay`` in a resolved phase.

        Args:
            group: Name of a layer group; one that does not train has the factor 0.
            depth: Number of layers between the parameter and the head.
        """
        if group not in self.trains:
            return 0.0
        scales = self.lr_scale
        scale = scales.get(group, 1.0) if isinstance(scales, dict) else scales
        return float(scale * self.layer_decay**depth)

    def group_parameters(self, group: str) -> ParameterKind:
        """Return which parameters of a group train, in a resolved phase."""
        kinds = self.parameters
        return kinds.get(group, "all") if isinstance(kinds, dict) else kinds


def _plural(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
