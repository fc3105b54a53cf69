"""A strategy whose phases the user writes out, group by group."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.strategy import FinetuningStrategy


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
