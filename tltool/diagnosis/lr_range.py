"""A learning-rate range test: the loss over rising learning rates."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.groups import layer_groups, layers
from tltool.finetuning.param_groups import rate_groups, split_by_layer_
from tltool.finetuning.phase import Phase

SMOOTHING = 0.9
"""Weight of the past in the smoothed loss."""

EXPLODED = 4.0
"""The test stops where the smoothed loss is so many times its least value."""


@dataclass(frozen=True)
class RateRange:
    """What a range test found.

    Attributes:
        rates: Base learning rate of each step, rising.
        losses: Smoothed loss at each of them.
        exploded: Whether the test stopped early because the loss exploded.
    """

    rates: list[float]
    losses: list[float]
    exploded: bool

    @property
    def best(self) -> float:
        """The rate at the least loss: an upper bound, for the next ones do harm."""
        return self.rates[min(range(len(self.losses)), key=self.losses.__getitem__)]

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest per factor of the rate, before its least value.

        It is the middle one of five steps, for single steps are noise.
        """
        end = max(self.rates.index(self.best), 5)
        width = min(4, len(self.losses) - 1)
        starts = range(max(min(end, len(self.losses) - 1) - width + 1, 1))
        start = min(starts, key=lambda i: self.losses[i + width] - self.losses[i])
        return self.rates[start + width // 2]


def learning_rate_range(
    task: Any,
    phase: Phase,
    batches: Iterable[Mapping[str, Any]],
    *,
    num_steps: int = 60,
    lowest: float = 1e-3,
    highest: float = 1e3,
) -> RateRange:
    """Train for some steps while the learning rate rises by a factor from step to step.

    See Smith, 2015, section 3.3, https://arxiv.org/abs/1506.01186. The groups keep the ratios that
    the phase gives them. The task is left as it was: weights, buffers, modes, what requires a
    gradient, and the random numbers.

    Args:
        task: An `ImageTask`, on its device.
        phase: A resolved phase; its warmup and decay are left out.
        batches: Training batches; begun anew when they end.
        num_steps: Number of steps.
        lowest: The first rate, as a factor on the optimizer's.
        highest: The last one.

    Raises:
        ValueError: If there are fewer than 10 steps, or the loss is not finite from the start.
    """
    if num_steps < 10:
        raise ValueError(
            f"A learning-rate range test needs at least 10 steps, got {num_steps}. Set "
            "--lr_range_steps 60."
        )
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    modes = {module: module.training for module in task.modules()}
    gradients = {parameter: parameter.requires_grad for parameter in task.parameters()}
    with torch.random.fork_rng():
        try:
            factors = [
                lowest * (highest / lowest) ** (step / (num_steps - 1)) for step in range(num_steps)
            ]
            return _raise_rates(task, phase, batches, factors)
        finally:
            task.load_state_dict(state)
            for module, mode in modes.items():
                module.training = mode
            for parameter, requires_grad in gradients.items():
                parameter.requires_grad_(requires_grad)
                parameter.grad = None


def _raise_rates(
    task: Any, phase: Phase, batches: Iterable[Mapping[str, Any]], factors: Sequence[float]
) -> RateRange:
    groups = layer_groups(task)
    optimizer = task.configure_optimizers()
    fine = layers(task) if phase.layer_decay < 1 else {}
    if fine:
        split_by_layer_(optimizer, task, fine)
    places = rate_groups(optimizer, task, groups, fine)
    bases = [group["lr"] for group in optimizer.param_groups]
    kinds = {group: phase.group_parameters(group) for group in phase.groups}
    set_trainable_(task, groups, kinds, batch_norm=phase.batch_norm)
    endless = itertools.chain.from_iterable(itertools.repeat(batches))
    rates: list[float] = []
    losses: list[float] = []
    average, best = 0.0, math.inf
    steps = track(
        factors,
        description="learning-rate range test",
        transient=True,
        console=Console(stderr=True),
    )
    for step, (factor, batch) in enumerate(zip(steps, endless, strict=False)):
        for place, base, group in zip(places, bases, optimizer.param_groups, strict=True):
            group["lr"] = base * phase.group_lr_scale(place.group, place.depth) * factor
        loss = _step(task, optimizer, batch)
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) and not losses:
            raise ValueError(
                "The loss is not finite before any step. Check the weights and the preprocessing."
            )
        if not math.isfinite(smoothed) or smoothed > EXPLODED * best:
            return RateRange(rates, losses, exploded=True)
        rates.append(max(bases) * factor)
        losses.append(smoothed)
        best = min(best, smoothed)
    return RateRange(rates, losses, exploded=False)


def _step(task: Any, optimizer: torch.optim.Optimizer, batch: Mapping[str, Any]) -> float:
    images = batch["images"].to(task.device)
    labels: Tensor = batch["labels"].to(task.device)
    optimizer.zero_grad()
    loss: Tensor = task.training_loss(task(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    optimizer.step()
    return float(loss.detach())
