"""Stack of heads of one shape that train together, each with a learning rate of its own."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from tltool._objective import Objective
from tltool._spec import Spec
from tltool.comparison.cross_validation import SplitRows
from tltool.comparison.head_outputs import image_losses, kept_outputs, per_image
from tltool.comparison.optimizers import StackedOptimizer
from tltool.comparison.training_settings import TrainingSettings

ROWS_AT_ONCE = 1024  # in evaluation


@dataclass(frozen=True)
class TrainedHead:
    """What a head of a stack came to.

    Attributes:
        state: The state dict of the trained head.
        train_losses: Mean loss of the batches of each epoch, as they came.
        val_losses: Loss on the validation rows after each epoch; empty if there are none.
        val_score: Accuracy, mean average precision or mean absolute error on them at the end; NaN
            if there are none.
        outputs: What is kept of each test row at the end, see `kept_outputs`: whether it is right,
            or what is predicted.
        seconds: Its share of the time that the stack trained.
    """

    state: dict[str, Tensor]
    train_losses: list[float]
    val_losses: list[float]
    val_score: float
    outputs: Tensor
    seconds: float

    @property
    def correct(self) -> Tensor:
        """Whether each test row is right, where each has one class."""
        return self.outputs


class HeadStack:
    """Heads of one shape with their weights stacked, so that one step trains all of them.

    The gradient of each head is its own, for the sum of the losses is taken. ``vmap`` of the
    forward pass and then ``backward`` works with batch norm, where ``vmap(grad)`` does not.

    Args:
        heads: The heads; they are left as they are.

    Shape:
        - Input: ``(H, B, num_features)``, or ``(B, num_features)`` for the same rows in all heads
        - Output: ``(H, B, num_classes)``
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        self.template = copy.deepcopy(heads[0])
        self.parameters, self.buffers = stack_module_state(list(heads))

    def __call__(self, features: Tensor) -> Tensor:
        """Return the logits of each head."""
        in_dims = (None, (0, 0), (0 if features.ndim == 3 else None,))
        state, template = (self.parameters, self.buffers), self.template
        forward = vmap(functional_call, in_dims, randomness="different")
        logits: Tensor = forward(template, state, (features,))
        return logits

    def train(self, mode: bool = True) -> None:
        """Set training or evaluation mode."""
        self.template.train(mode)

    @torch.no_grad()
    def measure(
        self, features: Tensor, labels: Tensor, objective: Objective = "single_label"
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of each head ``(H,)``, and what it gives for each row, ``(H, N, ...)``.

        Args:
            features: ``(N, num_features)``.
            labels: See `image_losses`.
            objective: What is learned.
        """
        self.train(False)
        losses, outputs = [], []
        tensors = (torch.split(each, ROWS_AT_ONCE) for each in (features, labels))
        for rows, wanted in zip(*tensors, strict=True):
            logits = self(rows)  # (H, n, K)
            losses.append(image_losses(logits, wanted, objective))
            outputs.append(kept_outputs(logits, wanted, objective))
        return torch.cat(losses, dim=1).mean(dim=1), torch.cat(outputs, dim=1)

    def state(self, position: int) -> dict[str, Tensor]:
        """Return the state dict of one head."""
        tensors = (self.parameters | self.buffers).items()
        return {name: tensor[position].detach() for name, tensor in tensors}


def train_head_stack(
    heads: Sequence[nn.Module],
    features: Tensor,
    labels: Tensor,
    split: SplitRows,
    *,
    lrs: Sequence[float],
    seeds: Sequence[int],
    optimizer: Spec = "AdamW",
    settings: TrainingSettings | None = None,
    on_epoch: Callable[[int], object] = lambda num_heads: None,
) -> list[TrainedHead]:
    """Train heads of one shape together on one split.

    Each comes out as if it had been trained alone, but for dropout, whose random numbers are those
    of the stack.

    Args:
        heads: The heads; they are left as they are.
        features: Features of all rows, ``(N, num_features)``.
        labels: Labels of all rows, ``(N,)``, or ``(N, num_classes)`` of several classes.
        split: Which rows train, tune and test.
        lrs: Learning rate of each head.
        seeds: Seed of the batch order of each head.
        optimizer: See ``StackedOptimizer``.
        settings: See ``TrainingSettings``.
        on_epoch: Called after each epoch with the number of heads, for a progress bar.
    """
    settings = settings or TrainingSettings()
    start = time.perf_counter()
    stack = HeadStack(heads)
    optimizer_steps = StackedOptimizer(optimizer, list(stack.parameters.values()), lrs)
    train_losses, val_losses = [], []
    objective, (mean, scale) = settings.objective, settings.target_scale(labels[split.train])
    targets = (labels - mean) / scale if objective == "regression" else labels
    scores = [math.nan] * len(heads)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(sum(seeds))  # of dropout
        for epoch in range(settings.epochs):
            stack.train()
            batches = _batches(labels, split, seeds, settings, epoch)
            total = torch.zeros(len(heads))
            for step, rows in enumerate(batches):
                losses = settings.losses(stack(features[rows]), targets[rows])
                losses.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
                progress = (epoch + step / len(batches)) / settings.epochs
                optimizer_steps.step(settings.phase.lr_factor(progress))
                total += losses.detach() * rows.shape[1] / len(split.train)
            train_losses.append(total)
            if len(split.val):
                val = features[split.val], targets[split.val]
                val_loss, outputs = stack.measure(*val, objective)
                val_losses.append(val_loss)
            on_epoch(len(heads))
    if len(split.val):
        outputs = outputs * scale + mean if objective == "regression" else outputs
        scores = [float(per_image(row, labels[split.val], objective).mean()) for row in outputs]
    seconds = (time.perf_counter() - start) / len(heads)
    _, outputs = stack.measure(features[split.test], targets[split.test], objective)
    outputs = outputs * scale + mean if objective == "regression" else outputs
    return [
        TrainedHead(
            state=stack.state(position),
            train_losses=[float(loss[position]) for loss in train_losses],
            val_losses=[float(loss[position]) for loss in val_losses],
            val_score=scores[position],
            outputs=outputs[position],
            seconds=seconds,
        )
        for position in range(len(heads))
    ]


def _batches(
    labels: Tensor,
    split: SplitRows,
    seeds: Sequence[int],
    settings: TrainingSettings,
    epoch: int,
) -> Sequence[Tensor]:
    """Return the rows of each batch of an epoch, ``(H, B)``: each head has an order of its own."""
    own = labels[split.train]
    orders = {seed: split.train[settings.order(own, seed, epoch)] for seed in seeds}
    return torch.split(torch.stack([orders[seed] for seed in seeds]), settings.batch_size, dim=1)
