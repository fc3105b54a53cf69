"""Can one batch be learned by heart? A network that cannot do that learns nothing else."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._module_state import disable_dropout_
from tltool.diagnosis.finding import Finding

HEAD_RATES = (1e-3, 1e-2, 1e-1)
"""Features come in all sizes: one of these suits a head."""
NETWORK_RATES = (1e-3, 1e-4)
LEARNED = 0.2
"""Share of the first loss, or of a guess, below which a batch counts as learned."""

CHECK = "one batch by heart"


@dataclass(frozen=True)
class Overfit:
    """How well a few photos were learned.

    Attributes:
        loss: At the end, at the best rate.
        accuracy: At the end.
        guess: Loss of a guess, ln C.
        rate: The best rate.
        num_steps: Steps that were made at it.
        is_complete: Whether the steps were not cut short by time.
    """

    loss: float
    accuracy: float
    guess: float
    rate: float
    num_steps: int
    is_complete: bool

    @property
    def is_learned(self) -> bool:
        """Whether the photos are known by heart."""
        return self.loss < LEARNED * self.guess and self.accuracy == 1


def overfit(
    learner: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    rates: Sequence[float],
    num_steps: int,
    seconds: float = math.inf,
) -> Overfit:
    """Train copies on one batch, without dropout and weight decay, one rate after another.

    Args:
        learner: From inputs to logits, ``(B, num_classes)``; what requires a gradient trains.
        inputs: ``(B, ...)``.
        labels: ``(B,)``.
        num_classes: Number of classes.
        rates: Learning rates of Adam, tried until one does.
        num_steps: Steps at each.
        seconds: When to stop.

    Example:
        >>> inputs, labels = torch.eye(4), torch.tensor([0, 1, 0, 1])
        >>> overfit(nn.Linear(4, 2), inputs, labels, 2, rates=[0.1], num_steps=60).is_learned
        True
    """
    end = time.monotonic() + seconds
    best: Overfit | None = None
    for rate in rates:
        found = _train(
            copy.deepcopy(learner),
            (inputs, labels),
            guess=math.log(num_classes),
            rate=rate,
            num_steps=num_steps,
            end=end,
        )
        if best is None or not found.loss >= best.loss:
            best = found
        if best.is_learned or not best.is_complete:
            break
    assert best is not None  # noqa: S101  # there is a rate
    return best


def learns_by_heart(found: Overfit, num_photos: int, *, on_features: bool) -> Finding:
    """Say whether a batch could be learned by heart."""
    what = "features of " if on_features else ""
    seen = (
        f"{what}{num_photos} photos in {found.num_steps} steps of Adam at {found.rate:g}: loss "
        f"{found.loss:.3f}, {100 * found.accuracy:.0f} % right"
    )
    if found.is_learned:
        return Finding(CHECK, "ok", seen)
    if not found.is_complete:
        return Finding(CHECK, "warning", f"{seen}; stopped, for it takes long here.", "")
    return Finding(
        CHECK,
        "failed" if found.accuracy < 1 else "warning",
        f"Not learned: {seen}.",
        "--model.head.initializer auto and --model.head.input_norm standardize; look at gradients "
        "and activations here, and whether equal photos have different labels.",
    )


def _train(
    learner: nn.Module,
    batch: tuple[Tensor, Tensor],
    *,
    guess: float,
    rate: float,
    num_steps: int,
    end: float,
) -> Overfit:
    inputs, labels = batch
    disable_dropout_(learner)
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    loss, accuracy, step = math.inf, 0.0, 0
    with torch.enable_grad():
        while step < num_steps:
            step += 1
            logits: Tensor = learner(inputs)
            objective = functional.cross_entropy(logits, labels)
            loss = float(objective.detach())
            accuracy = float((logits.argmax(dim=1) == labels).double().mean())
            is_learned = loss < LEARNED * guess and accuracy == 1
            if is_learned or not math.isfinite(loss) or time.monotonic() > end:
                break
            optimizer.zero_grad()
            objective.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
    in_time = step == num_steps or time.monotonic() <= end
    return Overfit(loss, accuracy, guess, rate, step, in_time)
