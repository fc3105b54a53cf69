"""Learning-rate range test: the loss over rising learning rates."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from tltool._progress import with_progress
from tltool.diagnostics.phase_training import copy_in_phase, phase_optimizer, train_steps
from tltool.finetuning.phase import Phase

#: Weight of the past in the smoothed loss.
SMOOTHING = 0.9

#: The test stops where the smoothed loss is so many times its least value.
EXPLODED = 4.0

#: A rate does harm where the smoothed loss is so many times that of the start, from there on.
HARM = 1.5

#: A fall counts where it is so many times the largest rise before the least loss, which is noise.
CLEAR = 2.0

#: A rate so many times below the default is far below it.
FAR = 5.0


@dataclass(frozen=True)
class LRRange:
    """What a range test found.

    Attributes:
        lrs: Base learning rate of each step, rising.
        losses: Smoothed loss at each of them.
        exploded: Whether the test stopped early because the loss exploded.
    """

    lrs: list[float]
    losses: list[float]
    exploded: bool

    @property
    def best(self) -> float:
        """The learning rate at the least loss: an upper bound, for the next ones do harm."""
        return self.lrs[min(range(len(self.losses)), key=self.losses.__getitem__)]

    @property
    def steepest(self) -> float:
        """The learning rate at which the loss falls fastest per factor, before its least value.

        It is the middle one of five steps, for single steps are noise.
        """
        changes = self._changes()
        return self.lrs[min(changes, key=changes.__getitem__) + self._width // 2]

    @property
    def falls(self) -> bool:
        """Whether the loss falls somewhere by more than its noise, for five steps in a row.

        Before its least value it has no reason to rise: what it rises by tells how large noise is.
        A loss that is least within the first steps falls nowhere: what comes behind is noise.
        """
        if self.lrs.index(self.best) < self._start + self._width:
            return False
        changes = self._changes().values()
        return min(changes) < 0 and -min(changes) >= CLEAR * max(changes)

    @property
    def harmful(self) -> float | None:
        """The learning rate from which on the loss stays far above that of the start, if any."""
        most = HARM * self.losses[self._start]
        fine = [index for index, loss in enumerate(self.losses) if loss <= most]
        return self.lrs[fine[-1] + 1] if fine[-1] + 1 < len(self.lrs) else None

    @property
    def _start(self) -> int:
        """The first step that counts: the average of the first ones is of too few losses."""
        return len(self.losses) // 6

    @property
    def _width(self) -> int:
        return min(4, len(self.losses) - 1 - self._start)

    def _changes(self) -> dict[int, float]:
        """Return how the loss changes in five steps, by the first of them, up to its least."""
        end = max(self.lrs.index(self.best), self._start + self._width)
        starts = range(self._start, end - self._width + 1)
        return {i: self.losses[i + self._width] - self.losses[i] for i in starts}


class LRSuggestion(NamedTuple):
    """A learning rate, and why.

    Attributes:
        lr: For ``--optimizer.lr``.
        why: The end of a sentence.
    """

    lr: float
    why: str


def suggest_lr(found: LRRange, default: float) -> LRSuggestion:
    """Return the learning rate to take after a range test.

    It is that of the steepest fall (Smith, 2015, section 3.3, https://arxiv.org/abs/1506.01186), if
    that tells anything. A head that begins at its closed-form solution begins near the least loss:
    then what falls is noise, or the little that many small steps still gain, and both lie at rates
    that are far too low. So the default rate is taken instead, but at most a third of the rate that
    does harm (`HARM`), where

    - the loss falls nowhere by more than its noise (`LRRange.falls`), or
    - the steepest fall is far (`FAR`) below the default, and the least loss is not.

    Args:
        found: The test.
        default: The learning rate that is set now.

    Example:
        >>> near_its_least = LRRange([1e-5, 1e-4, 1e-3, 1e-2], [0.30, 0.31, 0.29, 0.90], True)
        >>> suggest_lr(near_its_least, default=1e-3).lr
        0.001
    """
    end = f", and explodes at {found.lrs[-1]:.2g}" if found.exploded else ""
    least = f"it is least at {found.best:.2g}{end}"
    is_far = found.steepest * FAR < default <= found.best * FAR
    if found.falls and not is_far:
        return LRSuggestion(found.steepest, f"where the loss falls most steeply; {least}")
    noise = "the loss begins near its least, and falls nowhere by more than its noise"
    steep = f"the steepest fall, at {found.steepest:.2g}, is far below it, the least loss is not"
    why = f"{steep if found.falls else noise}; {least}"
    if found.harmful is None or default <= found.harmful / 3:
        return LRSuggestion(default, f"the default: {why}")
    return LRSuggestion(found.harmful / 3, f"a third of what does harm: {why}")


def lr_range_test(
    task: Any,
    phase: Phase,
    batches: Iterable[Mapping[str, Any]],
    *,
    num_steps: int = 60,
    lowest: float = 1e-3,
    highest: float = 1e3,
) -> LRRange:
    """Train for some steps while the learning rate rises by a factor from step to step.

    See Smith, 2015, section 3.3, https://arxiv.org/abs/1506.01186. The groups keep the ratios that
    the phase gives them. A copy of the task trains, and the random numbers are restored.

    Args:
        task: An `ImageTask`, on its device.
        phase: A resolved phase; its warmup and decay are left out.
        batches: Training batches; begun anew when they end.
        num_steps: Number of steps.
        lowest: The first learning rate, as a factor on the optimizer's.
        highest: The last one.

    Raises:
        ValueError: If there are fewer than 10 steps, or the loss is not finite from the start.
    """
    if num_steps < 10:
        fix = "Set --lr_range_steps 60."
        raise ValueError(f"A range test needs at least 10 steps, got {num_steps}. {fix}")
    factors = [lowest * (highest / lowest) ** (step / (num_steps - 1)) for step in range(num_steps)]
    base_lr = max(group["lr"] for group in task.configure_optimizers().param_groups)
    with torch.random.fork_rng():
        task = copy_in_phase(task, phase)
        optimizer = phase_optimizer(task, phase)
        full_lrs = [group["lr"] for group in optimizer.param_groups]
        endless = itertools.chain.from_iterable(itertools.repeat(batches))
        losses = train_steps(task, optimizer, endless)
        lrs: list[float] = []
        smoothed: list[float] = []
        average = 0.0
        for factor in with_progress(factors, "learning-rate range test"):
            for full_lr, group in zip(full_lrs, optimizer.param_groups, strict=True):
                group["lr"] = full_lr * factor  # The step follows the loss.
            average = SMOOTHING * average + (1 - SMOOTHING) * next(losses)
            loss = average / (1 - SMOOTHING ** (len(lrs) + 1))
            if not math.isfinite(loss) and not lrs:
                raise ValueError("The loss is not finite before any step. Check the weights.")
            if not math.isfinite(loss) or loss > EXPLODED * min(smoothed, default=math.inf):
                return LRRange(lrs, smoothed, exploded=True)
            lrs.append(base_lr * factor)
            smoothed.append(loss)
        return LRRange(lrs, smoothed, exploded=False)
