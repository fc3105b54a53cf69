"""Training settings that all heads of a comparison share: epochs, batch size, loss, schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tltool._objective import Objective
from tltool.data.loading.class_balance import Sampling, class_balanced_positions
from tltool.data.loading.labels import TargetStats
from tltool.evaluation.score import SCORE_OF, Score
from tltool.finetuning.phase import Decay, Phase
from tltool.models.label_loss import RegressionLoss


@dataclass(frozen=True)
class TrainingSettings:
    """What all heads of a comparison share.

    Args:
        epochs: Number of passes over the training features.
        batch_size: Number of images in a step.
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.
        label_smoothing: Share of the target probability that is spread over all classes, or of
            several classes for each image over having one and not.
        class_weights: Weight of each class in the training loss, which `compare_heads` scales to a
            mean of 1 over the images; ``None`` for one weight. Of several classes for each image,
            that of the images that have it.
        log_prior: Start from the class frequencies. See ``init_log_prior_``.
        sampling: What an epoch draws, see `ImageDataModule`.
        objective: What the labels are: classes ``(N,)``, several of them ``(N, num_classes)`` of 0
            and 1, or numbers ``(N,)``, which heads learn standardized.
        regression_loss: The loss of numbers.

    Raises:
        ValueError: If a value is out of its range, or does not go with the objective.
    """

    epochs: int = 10
    batch_size: int = 32
    warmup: float = 0.1
    decay: Decay = "cosine"
    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    log_prior: bool = False
    sampling: Sampling = "shuffled"
    objective: Objective = "single_label"
    regression_loss: RegressionLoss = "mse"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {self.label_smoothing}.")
        for name, usual in (("log_prior", False), ("sampling", "shuffled")):
            if self.objective != "single_label" and getattr(self, name) != usual:
                raise ValueError(
                    f"`{name}: {getattr(self, name)}` is for images of one class each, and the "
                    f"objective is {self.objective}. Leave it out."
                )
        self.phase  # noqa: B018  # It checks warmup and decay.

    @property
    def phase(self) -> Phase:
        """The course of the learning rate."""
        return Phase("compare", ("head",), warmup=self.warmup, decay=self.decay)

    @property
    def score(self) -> Score:
        """What heads are compared by."""
        return SCORE_OF[self.objective]

    def target_scale(self, labels: Tensor) -> tuple[float, float]:
        """Return mean and deviation of training labels that are numbers; of others 0 and 1."""
        if self.objective != "regression":
            return 0.0, 1.0
        stats = TargetStats.of(labels.tolist())
        return stats.mean, stats.std

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of each head of a stack, see `label_loss`.

        Shape:
            - logits: ``(H, B, K)``
            - labels: ``(H, B)``, or ``(H, B, K)`` of several classes; numbers are standardized
            - Output: ``(H,)``
        """
        weight = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if self.objective == "regression":
            is_huber = self.regression_loss == "huber"
            function = functional.huber_loss if is_huber else functional.mse_loss
            return function(logits[..., 0], labels, reduction="none").mean(dim=1)
        if self.objective == "multi_label":
            targets = labels * (1 - self.label_smoothing) + self.label_smoothing / 2
            binary = functional.binary_cross_entropy_with_logits
            return binary(logits, targets, pos_weight=weight, reduction="none").mean(dim=(1, 2))
        options: dict[str, Any] = {"label_smoothing": self.label_smoothing, "reduction": "none"}
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), **options)
        losses = losses.view_as(labels)
        return (losses if weight is None else weight[labels] * losses).mean(dim=1)

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
