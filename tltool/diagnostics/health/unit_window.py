"""Statistics of an activation's units over a window of steps: dead, saturated, mean, rank."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tltool.diagnostics.health.health_statistics import as_rows, effective_rank
from tltool.layers.activation_behavior import SaturatedRegion

#: Rows that the effective rank is taken of.
RANK_ROWS = 128
#: With fewer rows a batch has no rank of its own: those of several are gathered.
FEW_ROWS = 8
#: Rows of one batch that are looked at; a convolution has one for each place of each image.
MOST_ROWS = 4096
EVERY = 50

#: Sums a tensor over the ranks.
Reduce = Callable[[Tensor], Tensor]


def is_sampled(step: int, every: int = EVERY) -> bool:
    """Return whether a step is looked at: densely at first, then now and then.

    Example:
        >>> [step for step in range(200) if is_sampled(step)]
        [0, 1, 2, 4, 8, 16, 32, 50, 100, 150]
    """
    return step % every == 0 or (step < every and step & (step - 1) == 0)


class UnitHealth(NamedTuple):
    """What the units of an activation did in a window.

    Attributes:
        num_rows: Rows that were seen, over all ranks.
        dead: Share of the units that were saturated on every row: nothing taught them.
        saturated: Share of all pairs of row and unit that were saturated.
        mean: Mean of the outputs.
        std: Standard deviation of the outputs.
        effective_rank: How many directions the outputs of one batch use, as a share of the most
            that are possible. Of batches with fewer than `FEW_ROWS` rows, those of several.
    """

    num_rows: int
    dead: float
    saturated: float
    mean: float
    std: float
    effective_rank: float


@dataclass
class UnitWindow:
    """Sums over the rows that an activation saw.

    Args:
        saturation: Its saturated inputs.
        unit_dim: Where its units are.
    """

    saturation: SaturatedRegion
    unit_dim: int = -1
    _num_rows: int = 0
    _live: Tensor | None = None  # (U,) rows on which each unit was not saturated
    _sums: Tensor | None = None  # rows x units, sum, sum of squares
    _rows: Tensor | None = None
    _ever_live: Tensor | None = None  # (U,) whether each unit was live in this epoch

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Take in what an activation was given and gave.

        Of a module that several layers of different width share, the first is looked at.

        Args:
            inputs: See `as_rows`.
            outputs: Of the same shape.
        """
        rows = _thinned(as_rows(outputs.detach(), self.unit_dim).float())
        if self._rows is not None and rows.shape[1] != self._rows.shape[1]:
            return
        live = live_mask(_thinned(as_rows(inputs.detach(), self.unit_dim)), self.saturation)
        counts = live.sum(dim=0)  # (U,)
        sums = torch.stack([rows.sum(), rows.square().sum()])
        self._live = counts if self._live is None else self._live + counts
        self._sums = sums if self._sums is None else self._sums + sums
        self._num_rows += len(rows)
        if self._rows is None or len(rows) >= FEW_ROWS:
            self._rows = rows[:RANK_ROWS]
        else:
            self._rows = torch.cat([self._rows, rows])[-RANK_ROWS:]

    def close(self, reduce: Reduce = lambda tensor: tensor) -> UnitHealth | None:
        """Return what was seen since the last time, ``None`` if nothing was, and begin anew."""
        seen, sums, last = self._live, self._sums, self._rows
        if seen is None or sums is None or last is None:
            return None
        # Ranks sum on their devices, not all of which have float64 (Apple's has not).
        live = reduce(seen.float()).cpu().double()
        number = reduce(torch.tensor([float(self._num_rows)], device=seen.device)).item()
        mean, mean_square = (reduce(sums).cpu().double() / (number * len(live))).tolist()
        most = min(last.shape[0] - 1, last.shape[1])
        self._num_rows, self._live, self._sums, self._rows = 0, None, None, None
        return UnitHealth(
            num_rows=round(number),
            dead=float((live == 0).double().mean()),
            saturated=1 - float(live.sum()) / (number * len(live)),
            mean=mean,
            std=max(mean_square - mean**2, 0.0) ** 0.5,
            effective_rank=effective_rank(last) / most if most > 0 else 0.0,
        )

    def note_live(self, inputs: Tensor) -> None:
        """Note which units are live on any row: what is cheap enough at every step."""
        rows = as_rows(inputs.detach(), self.unit_dim)
        if self._ever_live is not None and rows.shape[1] != len(self._ever_live):
            return  # See `add`.
        if self.saturation.above == math.inf:  # Several times quicker, where every step counts.
            live = rows.amax(dim=0) > self.saturation.below
        else:
            live = live_mask(rows, self.saturation).any(dim=0)
        self._ever_live = live if self._ever_live is None else self._ever_live | live

    def close_epoch(self, reduce: Reduce = lambda tensor: tensor) -> float | None:
        """Return the share of units that were live on no row since the last time.

        Returns:
            ``None`` if there were no rows.
        """
        live, self._ever_live = self._ever_live, None
        return None if live is None else float((reduce(live.float()) == 0).float().mean())


def live_mask(inputs: Tensor, saturation: SaturatedRegion) -> Tensor:
    """Return where an activation passes a gradient.

    Example:
        >>> live_mask(torch.tensor([-1.0, 2.0]), SaturatedRegion(below=0.0))
        tensor([False,  True])
    """
    return (inputs > saturation.below) & (inputs < saturation.above)


def _thinned(rows: Tensor) -> Tensor:
    return rows[:: max(len(rows) // MOST_ROWS, 1)] if len(rows) > MOST_ROWS else rows
