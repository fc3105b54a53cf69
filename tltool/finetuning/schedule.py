"""What trains when, and how fast: plain data and pure functions, without torch."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from tltool.layers.lookup import lookup


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same layer groups train.

    Args:
        name: Shown in logs and plans; unique in its schedule.
        trains: Layer groups that train, by name or pattern: ``head``, ``backbone.layer4``,
            ``backbone.*``. All others are frozen.
        epochs: Length in epochs; ``None`` for the rest of training (the last phase only).
        lr_scale: Factor on the optimizer's learning rate: one number, or a number for each group
            (names or patterns; a group that is not listed keeps 1.0).
        warmup: Share of the phase over which the learning rate rises linearly from zero, in ``[0,
            1)``.
        decay: How the learning rate falls to zero after the warmup: not at all, by half a cosine
            (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983), or linearly.

    Raises:
        ValueError: If a value is out of its range.

    Example:
        >>> phase = Phase("probe", trains=("head",), epochs=3, warmup=0.5, decay="linear")
        >>> [phase.lr_factor(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    name: str
    trains: tuple[str, ...]
    epochs: int | None = None
    lr_scale: float | dict[str, float] = 1.0
    warmup: float = 0.0
    decay: Literal["none", "cosine", "linear"] = "none"

    def __post_init__(self) -> None:
        if isinstance(self.trains, str):  # A tuple of letters otherwise.
            object.__setattr__(self, "trains", (self.trains,))
        if not self.trains:
            raise ValueError(
                f"Phase {self.name!r} trains nothing: `trains` is empty. Name at least one layer "
                "group, for example 'head'."
            )
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(
                f"Phase {self.name!r} has `epochs` {self.epochs}. Give it at least 1, or leave the "
                "phase out."
            )
        if not 0 <= self.warmup < 1:
            raise ValueError(
                f"Phase {self.name!r} has `warmup` {self.warmup}, but it is a share of the phase, "
                "in [0, 1). For one tenth of its steps set 0.1."
            )
        lookup(_DECAYS, self.decay, kind="decay")
        scales = self.lr_scale.values() if isinstance(self.lr_scale, Mapping) else [self.lr_scale]
        for scale in scales:
            if not (scale > 0 and math.isfinite(scale)):
                raise ValueError(
                    f"Phase {self.name!r} has `lr_scale` {scale}, but it must be positive. To "
                    "freeze a group, leave it out of `trains`."
                )

    def lr_factor(self, progress: float) -> float:
        """Return the factor of warmup and decay, in ``[0, 1]``.

        Args:
            progress: Share of the phase that is done, in ``[0, 1]``.
        """
        if progress < self.warmup:
            return progress / self.warmup
        return _DECAYS[self.decay]((progress - self.warmup) / (1 - self.warmup))

    def group_lr_scale(self, group: str) -> float:
        """Return the factor of ``lr_scale`` for one layer group."""
        if not isinstance(self.lr_scale, Mapping):
            return self.lr_scale
        return next((s for pattern, s in self.lr_scale.items() if fnmatchcase(group, pattern)), 1.0)


_DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
}


@dataclass(frozen=True)
class Schedule:
    """Phases in their order.

    Example:
        >>> schedule = Schedule((Phase("probe", ("head",), epochs=2), Phase("all", ("*",))))
        >>> [schedule.phase_at(epoch).name for epoch in range(4)]
        ['probe', 'probe', 'all', 'all']
        >>> schedule.resolve(["backbone.stem", "head"], max_epochs=4).phases[1].trains
        ('backbone.stem', 'head')
    """

    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(self.phases))
        if not self.phases:
            raise ValueError("A schedule needs at least one phase.")
        names = [phase.name for phase in self.phases]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"Two phases are named {twice!r}. Give each its own name.")
        for phase, following in zip(self.phases, self.phases[1:], strict=False):
            if phase.epochs is None:
                raise ValueError(
                    f"Phase {phase.name!r} has no `epochs`, so it lasts to the end of training and "
                    f"phase {following.name!r} never comes. Set its `epochs`."
                )

    def span(self, phase: Phase) -> tuple[int, float]:
        """Return where a phase begins and ends, in epochs; without `epochs` it ends at infinity."""
        index = self.phases.index(phase)
        start = sum(earlier.epochs or 0 for earlier in self.phases[:index])
        return start, math.inf if phase.epochs is None else start + phase.epochs

    def phase_at(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0; the last one after the end."""
        return next(
            (phase for phase in self.phases if epoch < self.span(phase)[1]), self.phases[-1]
        )

    def resolve(self, group_names: Sequence[str], max_epochs: int) -> "Schedule":
        """Return the schedule with the names of groups for patterns, and the length of each phase.

        Args:
            group_names: Layer groups of the model, from the input on.
            max_epochs: Length of training.

        Raises:
            ValueError: If a name or pattern matches no group, or if the phases do not end with
                training.
        """
        phases = tuple(_resolve_groups(phase, group_names) for phase in self.phases)
        last = self.phases[-1]
        for phase in self.phases:
            start, end = self.span(phase)
            if start >= max_epochs or max_epochs < end < math.inf:
                moment = (
                    f"begin after epoch {start}" if start >= max_epochs else f"last to epoch {end}"
                )
                raise ValueError(
                    f"Phase {phase.name!r} would {moment}, but training ends after epoch "
                    f"{max_epochs}. Raise `max_epochs`, or shorten a phase."
                )
        if end < max_epochs:
            raise ValueError(
                f"The phases end after {end} epochs, but training lasts {max_epochs}. Leave out "
                f"`epochs` of the last phase {last.name!r} for the rest of training, or set "
                f"`max_epochs` to {end}."
            )
        return Schedule((*phases[:-1], dataclasses.replace(phases[-1], epochs=max_epochs - start)))


def match_groups(patterns: Sequence[str], group_names: Sequence[str]) -> list[str]:
    """Return the groups that a name or a pattern (``fnmatch``) matches, in the groups' order.

    Raises:
        ValueError: If one of them matches nothing.

    Example:
        >>> match_groups(["head", "backbone.layer*"], ["backbone.stem", "backbone.layer1", "head"])
        ['backbone.layer1', 'head']
    """
    for pattern in patterns:
        if not any(fnmatchcase(group, pattern) for group in group_names):
            lookup(dict.fromkeys(group_names), pattern, kind="layer group")
    return [g for g in group_names if any(fnmatchcase(g, pattern) for pattern in patterns)]


def _resolve_groups(phase: Phase, group_names: Sequence[str]) -> Phase:
    trains = match_groups(phase.trains, group_names)
    if not isinstance(phase.lr_scale, Mapping):
        return dataclasses.replace(phase, trains=tuple(trains))
    for pattern in phase.lr_scale:
        if not match_groups([pattern], group_names) or not any(
            fnmatchcase(g, pattern) for g in trains
        ):
            raise ValueError(
                f"Phase {phase.name!r} has an `lr_scale` for {pattern!r}, which does not train in "
                f"it. Add it to `trains`, or leave it out. It trains: {', '.join(trains)}."
            )
    scales = {group: _scale_of(group, phase.name, phase.lr_scale) for group in trains}
    return dataclasses.replace(phase, trains=tuple(trains), lr_scale=scales)


def _scale_of(group: str, phase: str, scales: Mapping[str, float]) -> float:
    if group in scales:
        return scales[group]
    matching = [pattern for pattern in scales if fnmatchcase(group, pattern)]
    if len(matching) > 1:
        raise ValueError(
            f"Phase {phase!r} has more than one `lr_scale` for {group!r}: "
            f"{', '.join(matching)}. Make the patterns exclusive, or list the group by its name, "
            "which comes first."
        )
    return scales[matching[0]] if matching else 1.0
