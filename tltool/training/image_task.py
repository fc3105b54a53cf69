"""The LightningModule: a backbone, a head, and one step for training, validation and test."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from tltool.data.datamodules.class_weights import ClassWeights
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.features.activation_cut import ActivationCut, features_behind
from tltool.finetuning.param_groups import param_groups
from tltool.finetuning.penalties import L2SP
from tltool.models.backbone import Backbone
from tltool.models.head_warnings import head_batch_warnings
from tltool.models.heads import Head
from tltool.models.non_finite import check_finite
from tltool.models.serialization import build_serializable, plain
from tltool.training.checkpoint_io import TASK, read_checkpoint
from tltool.training.class_frequencies import start_from_log_prior_, weight_tensor
from tltool.training.csv_logger import add_last_row, resume_rows
from tltool.training.data_config_agreement import agreed_data_config
from tltool.training.distributed.sharding import is_sharded
from tltool.training.head_start import start_head_
from tltool.training.metric_state import gather_sums, set_sums_
from tltool.training.metrics import Stage, stage_metrics
from tltool.training.moved_checkpoints import follow_moved_files_
from tltool.training.optimizer_options import keep_changed_options_, optimizer_config
from tltool.training.quiet_lightning import quiet_lightning
from tltool.training.resume_facts import RunFacts, model_differences
from tltool.training.resume_rules import check
from tltool.training.task_serialization import load_state_, task_arguments, task_config

log = logging.getLogger(__name__)

L2_SP_START = "l2_sp_start"  # The key of the weights that a penalized training started from.

HeadFactory = Callable[[int, int], nn.Module]
OptimizerFactory = Callable[[Any], Optimizer]


class ImageTask(LightningModule):
    """Learn to classify images with a pretrained backbone and a new head.

    A batch is a dict with ``labels`` ``(B,)`` and ``images`` ``(B, C, H, W)``, ``features``
    ``(B, num_features)``, or ``activations`` at its ``activation_cut``. A training batch may bring
    a ``seed``, from which dropout draws then; a batch of evaluation may be empty. All parameters
    are in the optimizer from the start; the ``Finetuning`` callback says which of them train.
    Without it everything trains at the optimizer's learning rate.

    Args:
        backbone: The network in front of the head.
        head: Makes the head from ``(num_features, num_classes)``: a class such as ``Head``,
            or ``functools.partial(Head, hidden_features=[256])``.
        num_classes: Number of classes, at least 2.
        class_names: Names of the classes in the order of their labels; ``None`` for "0", "1", ...
        data_config: Preprocessing of the images; ``None`` for that of the datamodule it is trained
            with, until then the backbone's own.
        optimizer: Makes the optimizer from parameter groups: a class of ``torch.optim`` or
            ``timm.optim`` with its arguments bound.
        class_counts: Number of training images of each class, which ``class_weights`` and
            ``log_prior`` need. The command line fills it in.
        class_weights: Weights of the classes in the training loss: ``balanced``,
            ``effective_number``, a weight for each class, or weights by class name. See
            ``tltool.data.datamodules.class_weights``.
        log_prior: Start from the class frequencies: zero output weights and log-prior biases, so
            the first loss is the label entropy. See ``init_log_prior_``.
        closed_form_start: Let a linear head begin as the probe in closed form, see
            `start_from_probe_`. Neither beside ``log_prior`` nor where the head says how its output
            weights begin.
        label_smoothing: Share of the target probability that is spread over all classes, in
            ``[0, 1)`` (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567). It is part of the
            training loss, not of the validation and test loss. ``None`` is 0, unless the strategy
            is ``Auto``, and then 0.1. With a linear head on three data sets it brought no accuracy
            (`scripts/benchmark/losses.py`).
        l2_sp: Strength of a penalty on the distance of the backbone's trainable weights to those
            that training starts from, see `L2SP`; the backbone then has no weight decay, and the
            head keeps that of the optimizer. It is part of what training minimizes, not of
            ``train/loss``, and logged as ``train/penalty``.

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
        data_config: dict[str, Any] | None = None,
        # A partial holds no state of a task.
        optimizer: OptimizerFactory = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05),  # noqa: B008
        label_smoothing: float | None = None,
        class_counts: Sequence[int] | None = None,
        class_weights: ClassWeights | None = None,
        log_prior: bool = False,
        closed_form_start: bool = True,
        l2_sp: float = 0.0,
    ) -> None:
        super().__init__()
        quiet_lightning()
        if num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2 to tell apart, got {num_classes}.")
        label_smoothing = label_smoothing or 0.0
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}.")
        names = list(map(str, range(num_classes) if class_names is None else class_names))
        if len(names) != num_classes:
            raise ValueError(f"Got {len(names)} `class_names` for {num_classes} `num_classes`.")
        self.class_names = names
        self.backbone = backbone
        self.head = build_serializable(head, backbone.num_features, num_classes)
        self._given_data_config = data_config
        self.data_config = data_config or backbone.data_config
        self.label_smoothing = label_smoothing
        self.l2_sp = L2SP(l2_sp)
        #: Whether the head has yet to begin as the closed-form probe, when ``fit`` starts.
        self.closed_form_start = closed_form_start and not log_prior
        self.make_optimizer = optimizer
        #: Where batches of activations enter the backbone.
        self.activation_cut: ActivationCut | None = None
        self._saved_optimizer: dict[str, Any] | None = None
        self._run_facts: RunFacts | None = None
        self.class_weights: Tensor | None
        weights = weight_tensor(class_weights, class_counts, self.class_names)
        self.register_buffer("class_weights", weights, persistent=False)
        if log_prior:
            start_from_log_prior_(self.head, class_counts)
        self.task_config = task_config(
            backbone,
            self.head,
            num_classes=num_classes,
            class_names=self.class_names,
            data_config=self.data_config,
            label_smoothing=label_smoothing,
            class_weights=None if weights is None else weights.tolist(),
            l2_sp=l2_sp,
        )
        self.train_metrics = stage_metrics(num_classes, "train")
        self.val_metrics = stage_metrics(num_classes, "val")
        self.test_metrics = stage_metrics(num_classes, "test")
        #: Confusion matrix of the last evaluation, rows are labels; see `confusion_matrix`.
        self.confusion: Tensor | None = None

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
        return functional.cross_entropy(
            logits, labels, weight=self.class_weights, label_smoothing=self.label_smoothing
        )

    def edit_backbone_(self, edits: Sequence[dict[str, Any]]) -> None:
        """Edit the backbone, before the optimizer exists; a checkpoint rebuilds it so.

        Args:
            edits: See `apply_surgery_`.
        """
        self.backbone.edit_(edits)
        self._describe_surgery()

    def merge_adapters_(self) -> "ImageTask":
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

    def metrics_of(self, stage: Stage) -> MetricCollection:
        """Return the metrics of a stage; they move with the task."""
        metrics: MetricCollection = getattr(self, f"{stage}_metrics")
        return metrics

    def _step(self, batch: dict[str, Any], stage: Stage) -> tuple[Tensor, Tensor]:
        """Measure a batch; return its loss and its probabilities ``(B, num_classes)``."""
        if batch.get("paths") == []:  # The share of a rank where images are too few for all.
            if is_sharded(self):  # The ranks with images gather the weights together with this one.
                self(torch.zeros(1, *self.data_config["input_size"], device=self.device))
            probabilities = torch.zeros(0, len(self.class_names), device=self.device)
            return probabilities.sum(), probabilities
        labels = batch["labels"]  # (B,), or (B, num_classes) of mixed images
        hard_labels = batch.get("hard_labels", labels)
        logits = self.logits(batch)
        if stage == "train":
            loss = self.training_loss(logits, labels)
        else:  # Without smoothing and weights, so that runs can be compared.
            loss = functional.cross_entropy(logits, labels)
        probabilities = logits.detach().float().softmax(dim=-1)
        self.metrics_of(stage).update(
            value=loss.detach(), weight=len(labels), preds=probabilities, target=hard_labels
        )
        return loss, probabilities

    def setup(self, stage: str) -> None:
        """Take the preprocessing of the datamodule, which a checkpoint must know, or check it."""
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit":
            self.l2_sp.reset()
        if isinstance(data, ImageDataModule):
            self.data_config = agreed_data_config(data, self._given_data_config)
            if stage == "fit":
                self._given_data_config = self.task_config["data_config"] = self.data_config
                self._run_facts = RunFacts.of(data.splits, self.trainer.world_size)

    def on_fit_start(self) -> None:
        """Fit the head's input norm, and warn of batch norm on small batches."""
        data = getattr(self.trainer, "datamodule", None)
        start_head_(self, data)
        if isinstance(data, ImageDataModule) and self.trainer.is_global_zero:
            share = data.batch_size // self.trainer.world_size
            for warning in head_batch_warnings(self.head, batch_per_device=share):
                log.warning("%s", warning)

    def on_train_epoch_start(self) -> None:
        """Begin to count anew, not at the end of the epoch: it may not be over, and be resumed."""
        self.train_metrics.reset()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of one training batch."""
        if "seed" in batch:  # So that a resumed step drops what it would have.
            torch.manual_seed(batch["seed"])
        loss = self._step(batch, "train")[0]
        return loss + self.l2_sp(self.backbone) if self.l2_sp.strength else loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Measure one validation batch; return its ``probabilities`` for callbacks."""
        return {"probabilities": self._step(batch, "val")[1]}

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Measure one test batch."""
        self._step(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the paths and the class probabilities ``(B, num_classes)`` of one batch."""
        probabilities = self.logits(batch).float().softmax(dim=-1).cpu()
        return {"paths": batch["paths"], "probabilities": probabilities}

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        self._log_metrics("train")
        if self.l2_sp.strength:
            with torch.no_grad():  # Of the last step: a mean would not outlive a resume.
                self.log("train/penalty", self.l2_sp(self.backbone), rank_zero_only=False)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: Stage) -> None:
        metrics = self.metrics_of(stage)
        values = metrics.compute()
        if stage != "train":
            metrics.reset()
        self.confusion = values.pop(f"{stage}/confusion", None)
        on_bar = {f"{stage}/loss", f"{stage}/accuracy"}
        for name, value in values.items():
            self.log(name, value, prog_bar=name in on_bar, rank_zero_only=False, sync_dist=False)

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer over all parameters, in named groups.

        Raises:
            ValueError: If the optimizer cannot work with parameter groups, or with these
                parameters.
        """
        # None: the factory has bound its own weight decay.
        no_decay = {f"backbone.{name}" for name in self.backbone.no_weight_decay()}
        groups = param_groups(self, weight_decay=None, no_weight_decay=no_decay)
        if self.l2_sp.strength:
            for group in groups:
                if group["name"].startswith("backbone."):
                    group["weight_decay"] = 0.0
        try:
            optimizer = self.make_optimizer(groups)
        except ValueError as error:
            raise ValueError(
                f"This optimizer cannot train the task: {error}. Choose another, such as AdamW."
            ) from error
        if isinstance(optimizer, torch.optim.SparseAdam):
            raise ValueError("SparseAdam needs sparse gradients, but these are dense. Use Adam.")
        return keep_changed_options_(optimizer, lambda: self._saved_optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store how to rebuild this task, the metrics of a begun epoch, and what it trains on."""
        checkpoint[TASK] = self.task_config
        if self.l2_sp.strength:
            checkpoint[L2_SP_START] = self.l2_sp.state_dict()
        if self._trainer is not None:
            checkpoint["train_metrics"] = gather_sums(self.train_metrics)
            add_last_row(checkpoint, self._trainer)
            if self._trainer.optimizers:
                checkpoint["optimizer"] = optimizer_config(self._trainer.optimizers[0])
        if self._run_facts is not None:
            checkpoint["run_facts"] = self._run_facts.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the metrics of a begun epoch; compare what the checkpoint was trained with.

        Raises:
            ValueError: If its classes, preprocessing, backbone or head are others.
        """
        now = {**self.task_config, "data_config": plain(self.data_config, "data_config")}
        check(model_differences(checkpoint[TASK], now), "The checkpoint")
        self.closed_form_start = False
        self._saved_optimizer = checkpoint.get("optimizer")
        self.l2_sp.load_state_dict(checkpoint.get(L2_SP_START, {}))
        if self._run_facts is not None:
            self._run_facts.warn_of_differences(checkpoint.get("run_facts", {}))
        if self._trainer is not None:
            sums = checkpoint.get("train_metrics", {})
            place = {"rank": self._trainer.global_rank, "num_ranks": self._trainer.world_size}
            set_sums_(self.train_metrics, sums, **place)
            resume_rows(checkpoint, self._trainer)
            follow_moved_files_(checkpoint, self._trainer)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # the checkpoint alone says everything
        cls, checkpoint_path: str | Path | IO[bytes]
    ) -> "ImageTask":
        """Rebuild a task from a checkpoint alone.

        There is no download, and nothing is unpickled but tensors and plain data.

        Returns:
            The task in evaluation mode, on the CPU.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is no checkpoint of tltool, or its weights are no numbers.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        task = cls.rebuilt(checkpoint[TASK], checkpoint["state_dict"])
        check_finite(task, checkpoint_path)
        return task

    @classmethod
    def rebuilt(cls, config: dict[str, Any], state_dict: Mapping[str, Tensor]) -> "ImageTask":
        """Rebuild a task from its `task_config` and weights, in evaluation mode.

        Raises:
            ValueError: If they do not fit.
        """
        task = cls(**task_arguments(config))
        load_state_(task, state_dict)
        task.closed_form_start = False
        task.task_config = config  # It still names the weights that training began with.
        return task.eval()
