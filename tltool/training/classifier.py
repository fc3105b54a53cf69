"""A classifier: a backbone, a head and a loss, which a checkpoint alone rebuilds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from tltool._objective import Objective
from tltool.data.loading.labels import TargetStats
from tltool.features.activation_cut import ActivationCut, features_behind
from tltool.models.backbone import Backbone
from tltool.models.label_loss import RegressionLoss, label_loss, label_predictions
from tltool.models.non_finite import check_finite
from tltool.models.serialization import check_known_arguments
from tltool.training.calibration import Calibration
from tltool.training.checkpoint_io import LOADED_HASH, TASK, read_checkpoint
from tltool.training.loss_options import loss_options
from tltool.training.task_serialization import load_state_, task_arguments, task_config


class Classifier(LightningModule):
    """The network of a task, and the loss that its training minimizes.

    Args:
        backbone: The network in front of the head.
        head: Makes logits ``(B, num_classes)`` of features ``(B, num_features)``.
        class_weights: Weights of the classes in the training loss ``(num_classes,)``.
        label_smoothing: Of the training loss.
        objective: What the labels are.
        regression_loss: Of the training loss.
        target_stats: Of the numbers that a regression learns; the head's output is standardized by
            them.
        thresholds: See `ImageTask`.
        **arguments: The other arguments from which `rebuilt` makes the task again.

    Raises:
        TypeError: If the backbone or the head cannot say how it was made.
    """

    class_weights: Tensor | None
    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        *,
        class_weights: Tensor | None,
        label_smoothing: float,
        objective: Objective = "single_label",
        regression_loss: RegressionLoss = "mse",
        target_stats: TargetStats | None = None,
        thresholds: list[float] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.label_smoothing = label_smoothing
        self.objective: Objective = objective
        self.regression_loss: RegressionLoss = regression_loss
        self.register_buffer("class_weights", class_weights, persistent=False)
        #: Whether the head has yet to begin as the closed-form probe, when ``fit`` starts.
        self.closed_form_start = False
        #: The temperature of its probabilities in prediction; training never uses it.
        self.calibration = Calibration()
        #: Where batches of activations enter the backbone.
        self.activation_cut: ActivationCut | None = None
        weights = None if class_weights is None else class_weights.tolist()
        loss = {
            "label_smoothing": label_smoothing,
            "class_weights": weights,
            "objective": objective,
            "regression_loss": regression_loss,
        }
        #: Plain data from which `rebuilt` makes the task again.
        self.task_config = task_config(backbone, head, **arguments, **loss)
        self.target_stats: TargetStats | None = None
        self._set_target_scale_(target_stats)
        self.set_thresholds_(thresholds)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, num_classes)`` of images ``(B, C, H, W)``."""
        return self.logits({"images": images})

    def logits(self, batch: dict[str, Any]) -> Tensor:
        """Return logits ``(B, num_classes)`` of a batch of images, or of what is cached of them."""
        if "features" in batch:
            features = batch["features"]
        elif "activations" in batch:
            features = self._features_behind(batch["activations"])
        else:
            features = self.backbone(batch["images"])
        logits: Tensor = self.head(features)
        return logits

    def _features_behind(self, activations: Tensor) -> Tensor:
        assert self.activation_cut is not None  # noqa: S101  # whoever gives them sets it
        return features_behind(self.backbone, self.activation_cut, activations)

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss that training minimizes, with class weights and label smoothing."""
        return label_loss(logits, self.standardized(labels), **loss_options(self))

    def plain_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss without weights and smoothing, by which runs can be compared."""
        return label_loss(logits, self.standardized(labels), objective=self.objective)

    def predictions(self, logits: Tensor) -> Tensor:
        """Return what logits predict.

        Returns:
            Probabilities of the classes ``(B, num_classes)``; of a regression numbers ``(B, 1)`` in
            the units of the target.
        """
        predicted = label_predictions(logits.float(), self.objective)
        if self.objective != "regression":
            return predicted
        return predicted * self.target_std + self.target_mean

    def standardized(self, labels: Tensor) -> Tensor:
        """Return labels as the loss takes them: the numbers of a regression without their units."""
        if self.objective != "regression":
            return labels
        return (labels - self.target_mean) / self.target_std

    def set_thresholds_(self, thresholds: list[float] | None) -> None:
        """Set the probability from which on each of several classes is predicted, in place."""
        self.thresholds = thresholds
        self.task_config["thresholds"] = thresholds

    def _set_target_scale_(self, stats: TargetStats | None) -> None:
        self.target_stats = stats
        known = stats or TargetStats()
        # Not in the state dict: an average of weights would round them. The task's configuration
        # has them.
        for name, value in (("target_mean", known.mean), ("target_std", known.std)):
            self.register_buffer(name, torch.tensor(value, device=self.device), persistent=False)
        self.task_config["target_stats"] = stats and stats.plain()

    def edit_backbone_(self, edits: Sequence[dict[str, Any]]) -> None:
        """Edit the backbone, before the optimizer exists; a checkpoint rebuilds it so.

        Args:
            edits: See `apply_surgery_`.
        """
        self.backbone.edit_(edits)
        self._describe_surgery()

    def merge_adapters_(self) -> Self:
        """Merge the backbone's adapters into its weights, see `merge_lora`.

        Raises:
            ValueError: If there are none.
        """
        self.backbone.merge_adapters_()
        self._describe_surgery()
        return self

    def _describe_surgery(self) -> None:
        # Of a loaded task, this one still names the weights that training began with.
        described = self.task_config["backbone"]
        init_args = {**described["init_args"], "surgery": self.backbone.surgery}
        self.task_config = {
            **self.task_config,
            "backbone": {**described, "init_args": init_args},
        }

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # the checkpoint alone says everything
        cls, checkpoint_path: str | Path | IO[bytes]
    ) -> Self:
        """Rebuild a task from a checkpoint alone.

        There is no download, and nothing is unpickled but tensors and plain data.

        Returns:
            The task in evaluation mode, on the CPU.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is no checkpoint of tltool, or its weights are no numbers.
        """
        return cls.of_checkpoint(read_checkpoint(checkpoint_path), checkpoint_path)

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any], source: str | Path | IO[bytes]) -> Self:
        """Rebuild a task from what `read_checkpoint` has read.

        Args:
            checkpoint: Its content.
            source: Where it comes from, for messages.

        Raises:
            ValueError: If its weights are no numbers.
        """
        task = cls.rebuilt(checkpoint[TASK], checkpoint["state_dict"])
        task.calibration = Calibration.of_checkpoint(checkpoint)
        task.backbone.loaded_hash = checkpoint.get(LOADED_HASH)
        check_finite(task, source)
        return task

    @classmethod
    def rebuilt(cls, config: dict[str, Any], state_dict: Mapping[str, Tensor]) -> Self:
        """Rebuild a task from its `task_config` and weights, in evaluation mode.

        Raises:
            ValueError: If they do not fit.
        """
        arguments = task_arguments(config)
        check_known_arguments(cls, arguments)
        task = cls(**arguments)
        load_state_(task, state_dict)
        task.closed_form_start = False
        task.task_config = config  # It still names the weights that training began with.
        task.backbone.loaded_hash = None  # Nor was it they that were loaded here.
        return task.eval()
