"""Overfit one batch: a network that cannot fit a few images learns nothing else."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tltool._module_state import disable_dropout_
from tltool._objective import Objective
from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.models.label_loss import label_loss


class Limits(NamedTuple):
    """How hard a batch is tried.

    Attributes:
        lrs: Learning rates of Adam, tried until one does.
        num_steps: Steps at each.
        seconds: When to stop.
    """

    lrs: Sequence[float]
    num_steps: int
    seconds: float = math.inf


#: Features come in all sizes: one of these learning rates suits a head.
HEAD = Limits((1e-3, 1e-2, 1e-1), 200)
NETWORK = Limits((1e-3, 1e-4), 60, seconds=20.0)
#: Share of the loss of a guess below which a batch counts as learned.
LEARNED = 0.2

CHECK = Check("overfit one batch")


@dataclass(frozen=True)
class OneBatchFit:
    """How well a few images were fitted.

    Attributes:
        loss: At the end, at the best learning rate.
        accuracy: At the end.
        is_learned: Whether the batch is overfitted: all are right, and surely so.
        lr: The best learning rate.
        num_steps: Steps that were made at it.
        is_complete: Whether the steps were not cut short by time.
    """

    loss: float
    accuracy: float
    is_learned: bool
    lr: float
    num_steps: int
    is_complete: bool


class Batch(NamedTuple):
    """A few images and their labels.

    Attributes:
        inputs: ``(B, ...)``.
        labels: As `label_loss` takes them.
        objective: What the labels are.
    """

    inputs: Tensor
    labels: Tensor
    objective: Objective

    def accuracy(self, logits: Tensor) -> float:
        """Return the share of right ones; of numbers those that are off by less than a half."""
        if self.objective == "multi_label":
            right = ((logits > 0) == (self.labels > 0)).all(dim=1)
        elif self.objective == "regression":
            right = (logits[:, 0] - self.labels).abs() < 0.5  # standard deviations
        else:
            right = logits.argmax(dim=1) == self.labels
        return float(right.double().mean())

    def loss_of_guess(self, logits: Tensor) -> float:
        """Return the loss of who knows nothing about an image."""
        if self.objective == "regression":
            return 1.0
        return math.log(2 if self.objective == "multi_label" else logits.shape[1])


def overfit_one_batch(
    learner: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    limits: Limits,
    objective: Objective = "single_label",
) -> OneBatchFit:
    """Train copies on one batch, without dropout and weight decay, one learning rate after another.

    Args:
        learner: From inputs to logits, ``(B, num_classes)``; what requires a gradient trains.
        inputs: ``(B, ...)``.
        labels: As `label_loss` takes them.
        limits: Learning rates, steps and seconds.
        objective: What the labels are.

    Example:
        >>> inputs, labels = torch.eye(4), torch.tensor([0, 1, 0, 1])
        >>> overfit_one_batch(nn.Linear(4, 2), inputs, labels, Limits([0.1], 60)).is_learned
        True
    """
    end = time.monotonic() + limits.seconds
    batch = Batch(inputs, labels, objective)
    fits: list[OneBatchFit] = []
    for lr in limits.lrs:
        *_, last = _fits(copy.deepcopy(learner), batch, lr, limits.num_steps, end)
        fits.append(last)
        if last.is_learned or not last.is_complete:
            break
    return min(fits, key=lambda fit: math.inf if math.isnan(fit.loss) else fit.loss)


def overfits_one_batch(fit: OneBatchFit, num_images: int, *, on_features: bool) -> CheckResult:
    """Say whether a batch could be overfitted."""
    what = "features of " if on_features else ""
    seen = (
        f"{what}{num_images} images in {fit.num_steps} steps of Adam at {fit.lr:g}: loss "
        f"{fit.loss:.3f}, {100 * fit.accuracy:.0f} % right"
    )
    if fit.is_learned:
        return CHECK.ok(seen)
    if not fit.is_complete:
        return CHECK.problem("slow", seen=seen)
    return CHECK.problem("not_learned", is_failure=fit.accuracy < 1, seen=seen)


def _fits(
    learner: nn.Module, batch: "Batch", lr: float, num_steps: int, end: float
) -> Iterator[OneBatchFit]:
    """Yield how well a batch is fitted before each step, until it is, or time is up."""
    disable_dropout_(learner)
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    for step in range(1, num_steps + 1):
        with torch.enable_grad():
            logits: Tensor = learner(batch.inputs)
            loss = label_loss(logits, batch.labels, objective=batch.objective)
        accuracy, guess = batch.accuracy(logits), batch.loss_of_guess(logits)
        value = float(loss.detach())
        is_learned = accuracy == 1 and value < LEARNED * guess
        is_complete = step == num_steps or time.monotonic() <= end
        fit = OneBatchFit(value, accuracy, is_learned, lr, step, is_complete)
        yield fit
        if fit.is_learned or not fit.is_complete or not math.isfinite(fit.loss):
            return
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
