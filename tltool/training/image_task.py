"""The LightningModule: a backbone, a head, and how they are trained."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tltool._objective import Objective
from tltool.data.datamodules.class_weights import ClassWeights
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.labels import TargetStats
from tltool.data.transforms.augmentation import crop_area_warnings
from tltool.finetuning.penalties import L2SP
from tltool.models.backbone import Backbone
from tltool.models.head_warnings import head_batch_warnings
from tltool.models.heads import Head
from tltool.models.label_loss import RegressionLoss
from tltool.models.serialization import build_serializable
from tltool.training.calibration import Calibration
from tltool.training.class_frequencies import (
    balance_warning,
    start_from_log_prior_,
    weight_tensor,
)
from tltool.training.data_config_agreement import agreed_data_config, foreign_images_warning
from tltool.training.head_start import start_head_
from tltool.training.measured_classifier import MeasuredClassifier
from tltool.training.objective_options import (
    check_objective,
    check_same_objective,
    check_thresholds,
)
from tltool.training.optimizer_options import keep_changed_options_
from tltool.training.quiet_lightning import quiet_lightning
from tltool.training.task_checkpoint import TaskCheckpoint
from tltool.training.task_optimizer import DEFAULT_OPTIMIZER, OptimizerFactory, make_optimizer

log = logging.getLogger(__name__)

L2_SP_START = "l2_sp_start"  # The key of the weights that a penalized training started from.

HeadFactory = Callable[[int, int], nn.Module]


class ImageTask(MeasuredClassifier):
    """Learn classes or a number of images with a pretrained backbone and a new head.

    A batch is a dict with ``labels``, see ``objective``, and ``images`` ``(B, C, H, W)``,
    ``features`` ``(B, num_features)``, or ``activations`` at its ``activation_cut``; or a pair
    ``(images, labels)``, as the loaders of any LightningDataModule may give it. A training batch
    may bring a ``seed``, from which dropout draws then; a batch of evaluation may be empty.
    All parameters are in the optimizer from the start; the ``Finetuning`` callback says which of
    them train.
    Without it everything trains at the optimizer's learning rate.

    Args:
        backbone: The network in front of the head.
        head: Makes the head from ``(num_features, num_classes)``: a class such as ``Head``,
            or ``functools.partial(Head, hidden_features=[256])``.
        num_classes: Number of classes, at least 2; of several classes for each image at least 1, of
            a regression 1.
        class_names: Names of the classes in the order of their labels; ``None`` for "0", "1", ...
            Of a regression the name of its target.
        objective: What the labels are. ``single_label``: one class for each image, ``(B,)``.
            ``multi_label``: any number of classes, ``(B, num_classes)`` of 0 and 1, learned by
            binary cross-entropy. ``regression``: a number, ``(B,)``; the head's output is
            standardized by ``target_stats``, what is predicted is in the target's units.
        data_config: Preprocessing of the images; ``None`` for that of the datamodule it is trained
            with, until then the backbone's own.
        optimizer: Makes the optimizer from parameter groups: a class of ``torch.optim`` or
            ``timm.optim`` with its arguments bound.
        class_counts: Number of training images of each class, which ``class_weights`` and
            ``log_prior`` need. The command line fills it in.
        num_images: Number of training images, which ``class_weights: balanced`` needs where images
            have several classes. The command line fills it in.
        class_weights: Weights of the classes in the training loss: ``balanced``,
            ``effective_number``, a weight for each class, or weights by class name; with
            ``class_counts`` scaled to a mean of 1 over the images. See
            ``tltool.data.datamodules.class_weights``. Of several classes for each image these are
            weights of the images that have the class, and ``balanced`` is how many do not for each
            that does.
        log_prior: Start from the class frequencies: zero output weights and log-prior biases, so
            the first loss is the label entropy. See ``init_log_prior_``.
        closed_form_start: Let a linear head begin as the probe in closed form, see
            `start_from_probe_`. Neither beside ``log_prior`` nor where the head says how its output
            weights begin.
        label_smoothing: Share of the target probability that is spread over all classes, in
            ``[0, 1)`` (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567). It is part of the
            training loss, not of the validation and test loss. ``None`` is 0; of one class for each
            image `tltool fit` takes 0.1 instead with ``Auto``, and where layers of the backbone
            train. With a linear head on three data sets it brought no accuracy
            (`scripts/benchmark/losses.py`).
        l2_sp: Strength of a penalty on the distance of the backbone's trainable weights to those
            that training starts from, see `L2SP`; the backbone then has no weight decay, and the
            head keeps that of the optimizer. It is part of what training minimizes, not of
            ``train/loss``, and logged as ``train/penalty``.
        thresholds: Of several classes for each image the probability from which on each is
            predicted; ``None`` chooses them on the validation images when ``fit`` ends.
        regression_loss: The training loss of a regression: ``mse``, or ``huber``, which counts
            errors of more than a standard deviation of the target linearly.
        target_stats: Mean, deviation and levels of the training targets of a regression, see
            `TargetStats`; ``None`` takes those of the datamodule it is trained with. The command
            line fills it in.

    Raises:
        ValueError: If the class names do not fit ``num_classes``, or an argument is out of its
            range.
        TypeError: If the backbone or the head cannot say how it was made.

    Example:
        >>> task = ImageTask(Backbone("test_resnet", weights="random"), num_classes=2)
        >>> task(torch.randn(4, 3, 32, 32)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory = Head,
        *,
        num_classes: int,
        class_names: Sequence[str] | None = None,
        objective: Objective = "single_label",
        data_config: dict[str, Any] | None = None,
        optimizer: OptimizerFactory = DEFAULT_OPTIMIZER,
        label_smoothing: float | None = None,
        class_counts: Sequence[int] | None = None,
        num_images: int | None = None,
        class_weights: ClassWeights | None = None,
        log_prior: bool = False,
        closed_form_start: bool = True,
        l2_sp: float = 0.0,
        thresholds: Sequence[float] | None = None,
        regression_loss: RegressionLoss = "mse",
        target_stats: dict[str, Any] | None = None,
    ) -> None:
        quiet_lightning()
        label_smoothing = label_smoothing or 0.0
        chosen: dict[str, Any] = {"label_smoothing": label_smoothing, "log_prior": log_prior}
        chosen |= {"class_weights": class_weights, "thresholds": thresholds}
        chosen |= {"regression_loss": regression_loss if regression_loss != "mse" else None}
        check_objective(objective, num_classes, chosen)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}.")
        names = list(map(str, range(num_classes) if class_names is None else class_names))
        if len(names) != num_classes:
            raise ValueError(f"Got {len(names)} `class_names` for {num_classes} `num_classes`.")
        super().__init__(
            backbone,
            build_serializable(head, backbone.num_features, num_classes),
            class_names=names,
            data_config=data_config or backbone.data_config,
            class_weights=weight_tensor(
                class_weights, class_counts, names, objective=objective, num_images=num_images
            ),
            label_smoothing=label_smoothing,
            l2_sp=l2_sp,
            objective=objective,
            thresholds=check_thresholds(thresholds, num_classes),
            regression_loss=regression_loss,
            target_stats=target_stats and TargetStats.from_plain(target_stats),
        )
        self._given_data_config = data_config
        self.l2_sp = L2SP(l2_sp)
        self.closed_form_start = closed_form_start and not log_prior
        self.make_optimizer = optimizer
        self._checkpoint = TaskCheckpoint(self)
        if log_prior:
            start_from_log_prior_(self.head, class_counts)

    def setup(self, stage: str) -> None:
        """Take the preprocessing of the datamodule, which a checkpoint must know, or check it."""
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit":
            self.l2_sp.reset()
            self.calibration = Calibration()  # That of a loaded task is of its old weights.
        if isinstance(data, ImageDataModule):
            check_same_objective(self.objective, data.objective)
            if stage == "fit" and self.target_stats is None:
                self.set_target_stats_(data.target_stats)
            self.data_config = agreed_data_config(data, self._given_data_config)
            if stage == "fit":
                self._given_data_config = self.task_config["data_config"] = self.data_config
                self._checkpoint.begin(data.splits, self.trainer.world_size)
                warning = balance_warning(self.class_weights, data.sampling)
                if warning and self.trainer.is_global_zero:
                    log.warning("%s", warning)
        elif stage == "fit" and self._given_data_config is None and self.trainer.is_global_zero:
            log.warning("%s", foreign_images_warning(self.data_config))

    def on_fit_start(self) -> None:
        """Fit the head's input norm, and warn of settings that do not go together."""
        data = getattr(self.trainer, "datamodule", None)
        start_head_(self, data)
        if isinstance(data, ImageDataModule) and self.trainer.is_global_zero:
            share = data.batch_size // self.trainer.world_size
            warnings = head_batch_warnings(self.head, batch_per_device=share)
            for warning in warnings + crop_area_warnings(data.augmentation, data.crop_area):
                log.warning("%s", warning)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of one training batch, with the penalty of L2-SP."""
        loss = super().training_step(batch, batch_idx)
        return loss + self.l2_sp(self.backbone) if self.l2_sp.strength else loss

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        super().on_train_epoch_end()
        if self.l2_sp.strength:
            with torch.no_grad():  # Of the last step: a mean would not outlive a resume.
                self.log("train/penalty", self.l2_sp(self.backbone), rank_zero_only=False)

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer over all parameters, see `make_optimizer`."""
        decays = not self.l2_sp.strength
        optimizer = make_optimizer(self, self.make_optimizer, decays_backbone=decays)
        return keep_changed_options_(optimizer, lambda: self._checkpoint.saved_optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store how to rebuild this task, the metrics of a begun epoch, and what it trains on."""
        self._checkpoint.save(checkpoint)
        if self.l2_sp.strength:
            checkpoint[L2_SP_START] = self.l2_sp.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the metrics of a begun epoch; compare what the checkpoint was trained with.

        Raises:
            ValueError: If its classes, preprocessing, backbone or head are others.
        """
        self._checkpoint.load(checkpoint)
        self.closed_form_start = False
        self.l2_sp.load_state_dict(checkpoint.get(L2_SP_START, {}))
