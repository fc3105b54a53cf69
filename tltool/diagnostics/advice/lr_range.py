"""Learning-rate range test: the loss over rising learning rates."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tltool._progress import with_progress
from tltool.diagnostics.phase_training import copy_in_phase, phase_optimizer, train_steps
from tltool.finetuning.phase import Phase

#: Weight of the past in the smoothed loss.
SMOOTHING = 0.9

#: The test stops where the smoothed loss is so many times its least value.
EXPLODED = 4.0


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
        start, width = self._steepest_steps()
        return self.lrs[start + width // 2]

    @property
    def falls(self) -> bool:
        """Whether the loss falls anywhere, for five steps in a row."""
        start, width = self._steepest_steps()
        return self.losses[start + width] < self.losses[start]

    def _steepest_steps(self) -> tuple[int, int]:
        """Return the first of the steps in which the loss falls fastest, and how many follow."""
        end = max(self.lrs.index(self.best), 5)
        width = min(4, len(self.losses) - 1)
        starts = range(max(min(end, len(self.losses) - 1) - width + 1, 1))
        return min(starts, key=lambda i: self.losses[i + width] - self.losses[i]), width


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
