"""Schedules: phases in their order, fitted to a model and to a length of training."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from tltool._lookup import lookup
from tltool.finetuning.phase import ParameterKind, Phase

T = TypeVar("T")


@dataclass(frozen=True)
class Schedule:
    """Phases in their order.

    Args:
        phases: At least one; only the last may be without a length.
        frozen: Layer groups that are meant never to train. Others that never train are reported.

    Raises:
        ValueError: If phases contradict each other.

    Example:
        >>> schedule = Schedule((Phase("probe", ("head",), epochs=2), Phase("all", ("*",))))
        >>> schedule.resolve(["backbone.stem", "head"], max_epochs=4).phases[1].trains
        ('backbone.stem', 'head')
    """

    phases: tuple[Phase, ...]
    frozen: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(self.phases))
        if not self.phases:
            raise ValueError("A schedule needs at least one phase.")
        names = [phase.name for phase in self.phases]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"Two phases are named {twice!r}. Give each its own name.")
        for before, phase in zip((None, *self.phases), self.phases, strict=False):
            if before is not None and before.is_open:
                raise ValueError(
                    f"Phase {before.name!r} has no length, so it lasts to the end of training and "
                    f"phase {phase.name!r} never comes. Set its `epochs`."
                )
            if phase.start_from_best and (before is None or before.until is None):
                raise ValueError(
                    f"Phase {phase.name!r} has `start_from_best`, but no phase that ends by a "
                    "metric comes before it. Give that phase `until`, or remove `start_from_best`."
                )

    def epochs_of(self, phase: Phase) -> tuple[int, float]:
        """Return the epochs in which a phase begins and ends at the latest.

        Phases in steps count as no epoch; one for the rest of training ends at infinity.
        """
        start = sum(_max_epochs(p) for p in self.phases[: self.phases.index(phase)])
        return start, math.inf if phase.is_open else start + _max_epochs(phase)

    def resolve(self, group_names: Sequence[str], max_epochs: int) -> "Schedule":
        """Return the schedule with group names for patterns and numbers, checked against training.

        A resolved phase has a mapping for ``parameters``, and one without a length that follows
        phases in epochs gets its ``epochs``.

        Args:
            group_names: Layer groups of the model, from the input on.
            max_epochs: Length of training.

        Raises:
            ValueError: If an address matches no group, or the phases do not end with training.
        """
        phases = [_resolve_groups(phase, group_names) for phase in self.phases]
        frozen = tuple(match_groups(self.frozen, group_names))
        for phase in phases:
            both = [group for group in frozen if group in phase.trains]
            if both:
                raise ValueError(
                    f"{both[0]!r} is listed in `frozen`, but phase {phase.name!r} trains it. "
                    "Remove it from one of them."
                )
        self._check_epochs(max_epochs)
        last = phases[-1]
        start, end = self.epochs_of(self.phases[-1])
        if end == math.inf and all(phase.epochs is not None for phase in phases[:-1]):
            phases[-1] = dataclasses.replace(last, epochs=max_epochs - start)
        return Schedule(tuple(phases), frozen)

    def _check_epochs(self, max_epochs: int) -> None:
        for phase in self.phases:
            start, end = self.epochs_of(phase)
            late = start >= max_epochs
            if late or max_epochs < end < math.inf:
                moment = f"begin after epoch {start}" if late else f"last to epoch {end}"
                raise ValueError(
                    f"Phase {phase.name!r} would {moment}, but training ends after epoch "
                    f"{max_epochs}. Raise `max_epochs`, or shorten a phase."
                )
        if end < max_epochs and not any(phase.steps for phase in self.phases):
            raise ValueError(
                f"The phases end after {end} epochs, but training lasts {max_epochs}. Leave out "
                f"the length of the last phase {phase.name!r} for the rest of training, or set "
                f"`max_epochs` to {end}."
            )

    def never_trained(self, group_names: Sequence[str]) -> list[str]:
        """Return the groups that no phase trains and that ``frozen`` does not list."""
        patterns = [*self.frozen, *(p for phase in self.phases for p in phase.trains)]
        known = match_groups(patterns, group_names)
        return [group for group in group_names if group not in known]

    def as_config(self) -> dict[str, Any]:
        """Return plain data that `ChosenGroups` makes the same schedule from, without defaults.

        Example:
            >>> Schedule((Phase("probe", ("head",), epochs=2),)).as_config()
            {'phases': [{'name': 'probe', 'trains': ['head'], 'epochs': 2}]}
        """
        config: dict[str, Any] = _without_defaults(self)
        return config


def match_groups(addresses: Sequence[int | str], group_names: Sequence[str]) -> list[str]:
    """Return the groups that are addressed, in the groups' order.

    Args:
        addresses: Names, patterns (``fnmatch``), or numbers from either end.
        group_names: Layer groups of the model, from the input on.

    Raises:
        ValueError: If an address matches nothing.

    Example:
        >>> match_groups([-1, "backbone.layer*"], ["backbone.stem", "backbone.layer1", "head"])
        ['backbone.layer1', 'head']
    """
    matched = {group for address in addresses for group in _match(address, group_names)}
    return [group for group in group_names if group in matched]


def _match(address: int | str, group_names: Sequence[str]) -> list[str]:
    try:
        number = int(address)
    except ValueError:
        pattern = str(address)
        matched = [group for group in group_names if fnmatchcase(group, pattern)]
        if not matched:
            lookup(dict.fromkeys(group_names), pattern, kind="layer group")
        return matched
    if not -len(group_names) <= number < len(group_names):
        raise ValueError(
            f"There is no layer group number {number}: the model has {len(group_names)}, from 0 "
            f"({group_names[0]}) to {len(group_names) - 1} or -1 ({group_names[-1]})."
        )
    return [group_names[number]]


def _resolve_groups(phase: Phase, group_names: Sequence[str]) -> Phase:
    trains = match_groups(phase.trains, group_names)
    given, lr_scale = phase.parameters, phase.lr_scale
    kinds: dict[str, ParameterKind] = dict.fromkeys(trains, "all")
    if isinstance(given, dict):
        kinds |= _by_group(phase, "parameters", given, trains, group_names)
    else:
        kinds |= {group: given for group in trains if group != "head"}
    if isinstance(lr_scale, dict):
        scales = _by_group(phase, "lr_scale", lr_scale, trains, group_names)
        lr_scale = dict.fromkeys(trains, 1.0) | scales
    return dataclasses.replace(phase, trains=tuple(trains), parameters=kinds, lr_scale=lr_scale)


def _by_group(
    phase: Phase,
    field: str,
    values: Mapping[str, T],
    trains: Sequence[str],
    group_names: Sequence[str],
) -> dict[str, T]:
    """Return the value of each addressed group; its full name comes before a pattern."""
    chosen: dict[str, str] = {}
    for address in sorted(values, key=group_names.__contains__):  # Full names are last, and win.
        matched = [group for group in match_groups([address], group_names) if group in trains]
        if not matched:
            raise ValueError(
                f"Phase {phase.name!r} has `{field}` for {address!r}, which does not train in it. "
                f"Add it to `trains`, or leave it out. It trains: {', '.join(trains)}."
            )
        for group in matched:
            if group in chosen and group not in values:
                raise ValueError(
                    f"Phase {phase.name!r} has more than one `{field}` for {group!r}: "
                    f"{chosen[group]}, {address}. Make the patterns exclusive, or list the group "
                    "by its name, which comes first."
                )
            chosen[group] = address
    for address in values:
        if address not in chosen.values():
            named = [group for group in match_groups([address], group_names) if group in trains]
            raise ValueError(
                f"Phase {phase.name!r} has `{field}` for {address!r}, which counts nowhere: listed "
                f"by name, which comes first: {', '.join(named)}. Leave one of them out."
            )
    return {group: values[address] for group, address in chosen.items()}


def _max_epochs(phase: Phase) -> int:
    return phase.until.max_epochs if phase.until else phase.epochs or 0


def _without_defaults(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = [f for f in dataclasses.fields(value) if getattr(value, f.name) != f.default]
        return {field.name: _without_defaults(getattr(value, field.name)) for field in fields}
    if isinstance(value, tuple):
        return [_without_defaults(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value
