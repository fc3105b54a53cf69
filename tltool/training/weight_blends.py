"""Blends of weights, such as points on a line between two networks and soups; each is measured."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from tltool.evaluation.candidates import (
    Candidate,
    Choice,
    Statistics,
    blend_name,
    choose_candidate,
)
from tltool.models.weight_averaging import (
    State,
    average_weights,
    greedy_soup,
    interpolate_weights,
)
from tltool.training.candidate_trial import CandidateTrial

START = "start"
POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)
BEST, LAST = "best epoch", "last epoch"


@dataclass(frozen=True)
class Blend:
    """Weights that can be made from those of networks.

    Attributes:
        name: See `Candidate`.
        make: Makes them; they are not kept, for there may be many.
        share: See `Candidate`.
        statistics: See `Candidate`; ``own`` for a network that was trained.
    """

    name: str
    make: Callable[[], State]
    share: float | None = None
    statistics: Statistics = "own"

    def __str__(self) -> str:
        return blend_name(self.name, self.share)

    @property
    def is_average(self) -> bool:
        """Whether it is of no network that was trained."""
        return self.statistics != "own"


@dataclass(frozen=True)
class MeasuredBlend:
    """A blend, how good it is, and running statistics that were estimated for it."""

    blend: Blend
    candidate: Candidate
    estimated: dict[str, Tensor]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights as they were measured."""
        return {**self.blend.make(), **self.estimated}


def check_points(points: Sequence[float]) -> None:
    """Raise unless all points are shares of the end, in ``[0, 1]``."""
    if not all(0 <= point <= 1 for point in points):
        raise ValueError(f"`points` are shares of the end, in [0, 1], got {list(points)}.")


def line_blends(
    start: State | None, ends: Mapping[str, State], points: Sequence[float]
) -> list[Blend]:
    """Return the ends, the points on the lines from the start to each, and the start.

    Args:
        start: Weights of the start; ``None`` for the ends alone.
        ends: Weights by name.
        points: Shares of the end. The end is a point in any case, the start is one if 0 is.
    """
    blends = [Blend(name, partial(_as_it_is, end), share=1.0) for name, end in ends.items()]
    if start is None:
        return blends
    for name, end in ends.items():
        for share in sorted({each for each in points if 0 < each < 1}, reverse=True):
            make = partial(interpolate_weights, start, end, share)
            blends.append(Blend(name, make, share, "averaged"))
    return [*blends, *([Blend(START, partial(_as_it_is, start), share=0.0)] if 0 in points else [])]


def measure_blends(trial: CandidateTrial, blends: Iterable[Blend]) -> list[MeasuredBlend]:
    """Measure each of several blends: averages also with estimated statistics, if there are any."""
    return [_measure(trial, each) for blend in blends for each in _variants(trial, blend)]


def measure_soups(
    trial: CandidateTrial, states: Mapping[str, State], monitor: str, mode: str
) -> list[MeasuredBlend]:
    """Measure networks and the averages of them that a greedy soup tries, see `greedy_soup`.

    Args:
        trial: Measures them.
        states: Weights by name.
        monitor: The metric that says how good they are.
        mode: ``max`` or ``min``.
    """
    measured: list[MeasuredBlend] = []

    def score(chosen: Sequence[int]) -> tuple[float, float]:
        found = measure_blends(trial, [soup_blend(states, chosen)])
        measured.extend(found)
        return max(each.candidate.score(monitor, mode) for each in found)

    greedy_soup(len(states), score)
    return measured


def soup_blend(states: Mapping[str, State], chosen: Sequence[int]) -> Blend:
    """Return the average of some of several networks; one alone is itself."""
    names = [list(states)[each] for each in chosen]
    if len(names) == 1:
        return Blend(names[0], partial(_as_it_is, states[names[0]]), share=1.0)
    make = partial(average_weights, [states[name] for name in names])
    return Blend(f"soup of {' + '.join(names)}", make, statistics="averaged")


def choose_blend(
    measured: Sequence[MeasuredBlend],
    *,
    monitor: str,
    mode: str,
    rule: Choice = "best",
    groups: Sequence[str] | None = None,
) -> int:
    """Return the number of the one that `choose_candidate` chooses."""
    candidates = [each.candidate for each in measured]
    chosen = choose_candidate(candidates, monitor=monitor, mode=mode, rule=rule, groups=groups)
    return next(n for n, candidate in enumerate(candidates) if candidate is chosen)


def _as_it_is(state: State) -> State:
    return state


def _variants(trial: CandidateTrial, blend: Blend) -> list[Blend]:
    has_other = blend.is_average and trial.norms and trial.train is not None
    return [blend, *([replace(blend, statistics="estimated")] if has_other else [])]


def _measure(trial: CandidateTrial, blend: Blend) -> MeasuredBlend:
    weights = blend.make()
    found = trial.measure(blend.name, weights, share=blend.share, statistics=blend.statistics)
    return MeasuredBlend(blend, *found)
