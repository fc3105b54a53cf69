"""Metrics of single steps: loss, norm of the gradient, throughput."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class StepMetrics:
    """Measure the steps at which Lightning logs, every ``trainer.log_every_n_steps``.

    All ranks call it alike, for the gradients of sharded weights lie on all of them.
    """

    def __init__(self) -> None:
        self.begin_clock()
        self._gradient_norm: float | None = None

    def begin_clock(self) -> None:
        """Count images and seconds anew, so that validation is no part of them."""
        self._num_images, self._since = 0, time.perf_counter()

    def before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the norm of the gradients, before they are clipped."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every and (trainer.global_step + 1) % every == 0:
            self._gradient_norm = gradient_norm(pl_module.parameters())

    def after_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> dict[str, float] | None:
        """Count a batch, and return the metrics of its step where one is logged.

        Throughput counts the images of all devices, and the time to load them.
        """
        labels = batch.get("labels") if isinstance(batch, Mapping) else None
        self._num_images += 0 if labels is None else len(labels)
        if self._gradient_norm is None:
            return None
        seconds = time.perf_counter() - self._since
        metrics = {
            "step/gradient_norm": self._gradient_norm,
            "step/images_per_second": self._num_images * trainer.world_size / seconds,
        }
        if isinstance(outputs, Mapping) and "loss" in outputs:
            # Lightning divides it for the accumulated gradient.
            metrics["step/loss"] = float(outputs["loss"]) * trainer.accumulate_grad_batches
        self._gradient_norm = None
        self.begin_clock()
        return metrics


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Return the 2-norm of all gradients that there are, as if they were one vector.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
        >>> gradient_norm([weight, nn.Parameter(torch.zeros(1))])
        5.0
    """
    gradients = [each.grad for each in parameters if each.grad is not None]
    norm: Tensor = torch.nn.utils.get_total_norm(gradients)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
