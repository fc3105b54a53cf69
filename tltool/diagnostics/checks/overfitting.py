"""Overfit one batch: a network that cannot fit a few images learns nothing else."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._module_state import disable_dropout_
from tltool.diagnostics.checks.check_result import Check, CheckResult

HEAD_LRS = (1e-3, 1e-2, 1e-1)
"""Features come in all sizes: one of these suits a head."""
NETWORK_LRS = (1e-3, 1e-4)
LEARNED = 0.2
"""Share of the loss of a guess below which a batch counts as learned."""

CHECK = Check("overfit one batch")


@dataclass(frozen=True)
class OneBatchFit:
    """How well a few images were fitted.

    Attributes:
        loss: At the end, at the best learning rate.
        accuracy: At the end.
        guess: Loss of a guess, ln C.
        lr: The best learning rate.
        num_steps: Steps that were made at it.
        is_complete: Whether the steps were not cut short by time.
    """

    loss: float
    accuracy: float
    guess: float
    lr: float
    num_steps: int
    is_complete: bool

    @property
    def is_learned(self) -> bool:
        """Whether the batch is overfitted."""
        return self.loss < LEARNED * self.guess and self.accuracy == 1


def overfit_one_batch(
    learner: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    lrs: Sequence[float],
    num_steps: int,
    seconds: float = math.inf,
) -> OneBatchFit:
    """Train copies on one batch, without dropout and weight decay, one learning rate after another.

    Args:
        learner: From inputs to logits, ``(B, num_classes)``; what requires a gradient trains.
        inputs: ``(B, ...)``.
        labels: ``(B,)``.
        lrs: Learning rates of Adam, tried until one does.
        num_steps: Steps at each.
        seconds: When to stop.

    Example:
        >>> inputs, labels = torch.eye(4), torch.tensor([0, 1, 0, 1])
        >>> overfit_one_batch(nn.Linear(4, 2), inputs, labels, lrs=[0.1], num_steps=60).is_learned
        True
    """
    end = time.monotonic() + seconds
    best: OneBatchFit | None = None
    for lr in lrs:
        fit = _train(copy.deepcopy(learner), inputs, labels, lr=lr, num_steps=num_steps, end=end)
        if best is None or not fit.loss >= best.loss:
            best = fit
        if best.is_learned or not best.is_complete:
            break
    assert best is not None  # noqa: S101  # there is a learning rate
    return best


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
        return CHECK.warning(f"{seen}; stopped, for it takes long here.", "")
    return CheckResult(
        CHECK,
        "failed" if fit.accuracy < 1 else "warning",
        f"Not learned: {seen}.",
        "--model.head.initializer auto and --model.head.input_norm standardize; look at gradients "
        "and activations here, and whether equal images have different labels.",
    )


def _train(
    learner: nn.Module, inputs: Tensor, labels: Tensor, *, lr: float, num_steps: int, end: float
) -> OneBatchFit:
    disable_dropout_(learner)
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    step = 0
    with torch.enable_grad():
        while True:
            step += 1
            logits: Tensor = learner(inputs)
            loss = functional.cross_entropy(logits, labels)
            is_last = step == num_steps
            fit = OneBatchFit(
                float(loss.detach()),
                float((logits.argmax(dim=1) == labels).double().mean()),
                math.log(logits.shape[1]),
                lr,
                step,
                is_last or time.monotonic() <= end,
            )
            if is_last or fit.is_learned or not fit.is_complete or not math.isfinite(fit.loss):
                return fit
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
