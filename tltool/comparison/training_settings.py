"""Training settings that all heads of a comparison share: epochs, batch size, loss, schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tltool.data.loading.class_balance import Sampling, class_balanced_positions
from tltool.finetuning.phase import Decay, Phase


@dataclass(frozen=True)
class TrainingSettings:
    """What all heads of a comparison share.

    Args:
        epochs: Number of passes over the training features.
        batch_size: Number of images in a step.
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.
        label_smoothing: Share of the target probability that is spread over all classes.
        class_weights: Weight of each class in the training loss; ``None`` for one weight.
        log_prior: Start from the class frequencies. See ``init_log_prior_``.
        sampling: What an epoch draws, see `ImageDataModule`.

    Raises:
        ValueError: If a value is out of its range.
    """

    epochs: int = 10
    batch_size: int = 32
    warmup: float = 0.1
    decay: Decay = "cosine"
    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    log_prior: bool = False
    sampling: Sampling = "shuffled"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {self.label_smoothing}.")
        self.phase  # noqa: B018  # It checks warmup and decay.

    @property
    def phase(self) -> Phase:
        """The course of the learning rate."""
        return Phase("compare", ("head",), warmup=self.warmup, decay=self.decay)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of each head of a stack.

        Shape:
            - logits: ``(H, B, C)``
            - labels: ``(H, B)``
            - Output: ``(H,)``
        """
        weight = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        options: dict[str, Any] = {"weight": weight, "label_smoothing": self.label_smoothing}
        flat, wanted = logits.flatten(0, 1), labels.flatten()
        losses = functional.cross_entropy(flat, wanted, reduction="none", **options).view_as(labels)
        if weight is None:
            return losses.mean(dim=1)
        return losses.sum(dim=1) / weight[labels].sum(dim=1)

    def order(self, labels: Tensor, seed: int, epoch: int) -> Tensor:
        """Return which training rows one epoch draws, in order.

        Args:
            labels: Of the training rows, ``(N,)``.
            seed: Of the training.
            epoch: Its number.
        """
        # Far apart: the next seed must not repeat the orders of this one, an epoch later.
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        order = torch.randperm(len(labels), generator=generator)
        is_balanced = self.sampling == "class_balanced"
        return class_balanced_positions(labels, generator)[order] if is_balanced else order
