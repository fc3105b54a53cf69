"""The LightningModule: a backbone, a head, and one step for training, validation and test."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchmetrics import MetricCollection

import tltool
from tltool.finetuning.param_groups import param_groups
from tltool.models.backbone import Backbone
from tltool.models.description import plain, rebuild
from tltool.models.heads import LinearHead
from tltool.tasks.metrics import evaluation_metrics, train_metrics

Stage = Literal["train", "val", "test"]

HeadFactory = Callable[[int, int], nn.Module]
OptimizerFactory = Callable[[Any], Optimizer]


class ImageTask(LightningModule):
    """Learn to classify images with a pretrained backbone and a new head.

    A batch is a dict with ``labels`` ``(B,)`` and either ``images`` ``(B, C, H, W)`` or
    ``features`` ``(B, num_features)``. All parameters are in the optimizer from the start; which of
    them train is the matter of the ``Finetuning`` callback. Without it everything trains at the
    optimizer's learning rate.

    Args:
        backbone: The network in front of the head.
        head: Makes the head from ``(num_features, num_classes)``: a class such as ``LinearHead``,
            or ``functools.partial(MLPHead, hidden_features=[256])``.
        num_classes: Number of classes, at least 2.
        class_names: Names of the classes in the order of their labels; ``None`` for "0", "1", ...
        data_config: Preprocessing of the images; ``None`` for the backbone's own.
        optimizer: Makes the optimizer from parameter groups: a class of ``torch.optim`` or
            ``timm.optim`` with its arguments bound.
        label_smoothing: Share of the target probability that is spread over all classes, in
            ``[0, 1)`` (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567). The logged loss
            includes it.

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
        head: HeadFactory = LinearHead,
        *,
        num_classes: int,
        class_names: Sequence[str] | None = None,
        data_config: dict[str, Any] | None = None,
        # A partial holds no state of a task.
        optimizer: OptimizerFactory = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05),  # noqa: B008
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"`num_classes` must be at least 2, got {num_classes}: there is nothing to tell "
                "apart."
            )
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}.")
        self.class_names = (
            [str(i) for i in range(num_classes)] if class_names is None else list(class_names)
        )
        if len(self.class_names) != num_classes:
            raise ValueError(
                f"{len(self.class_names)} `class_names` for {num_classes} `num_classes`."
            )
        self.backbone = backbone
        self.head = head(backbone.num_features, num_classes)
        self.data_config = data_config or backbone.data_config
        self.label_smoothing = label_smoothing
        self.make_optimizer = optimizer
        self.recipe = self._describe()
        self.metrics = nn.ModuleDict(
            {
                "train_metrics": train_metrics(num_classes),
                "val_metrics": evaluation_metrics(num_classes, "val"),
                "test_metrics": evaluation_metrics(num_classes, "test"),
            }
        )

    def _describe(self) -> dict[str, Any]:
        """Return plain data from which a checkpoint rebuilds this task."""
        for part in ("backbone", "head"):
            module = getattr(self, part)
            if not isinstance(getattr(module, "description", None), dict):
                raise TypeError(
                    f"The {part} {type(module).__name__} cannot say how it was made, so a "
                    "checkpoint could not rebuild it. Decorate its class with "
                    "tltool.models.described."
                )
        return {
            "tltool": tltool.__version__,
            "backbone": self.backbone.description,
            "head": self.head.description,
            "num_classes": len(self.class_names),
            "class_names": self.class_names,
            "data_config": plain(self.data_config, "data_config"),
            "label_smoothing": self.label_smoothing,
        }

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, num_classes)`` of images ``(B, C, H, W)``."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def logits(self, batch: dict[str, Any]) -> Tensor:
        """Return logits ``(B, num_classes)`` of a batch of images or of cached features."""
        logits: Tensor = (
            self.head(batch["features"]) if "features" in batch else self(batch["images"])
        )
        return logits

    def _step(self, batch: dict[str, Any], stage: Stage) -> Tensor:
        labels = batch["labels"]
        logits = self.logits(batch)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        metrics = self._metrics(stage)
        probabilities = logits.detach().float().softmax(dim=-1)
        for name, metric in metrics.items(keep_base=True):
            if name == "loss":  # Weighted, for the last batch may be smaller.
                metric.update(loss.detach(), weight=len(labels))
            else:
                metric.update(probabilities, labels)
        return loss

    def _metrics(self, stage: Stage) -> MetricCollection:
        collection = self.metrics[f"{stage}_metrics"]
        assert isinstance(collection, MetricCollection)  # noqa: S101  # ModuleDict forgets the type
        return collection

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of one training batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Measure one validation batch."""
        self._step(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Measure one test batch."""
        self._step(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the paths and the class probabilities ``(B, num_classes)`` of one batch."""
        return {
            "paths": batch["paths"],
            "probabilities": self.logits(batch).float().softmax(dim=-1).cpu(),
        }

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        self._log_metrics("train")

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: Stage) -> None:
        metrics = self._metrics(stage)
        values = metrics.compute()  # Reduced over the ranks by torchmetrics.
        metrics.reset()
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
        groups = param_groups(self, weight_decay=None, no_weight_decay=self._no_weight_decay())
        try:
            optimizer = self.make_optimizer(groups)
        except ValueError as error:
            raise ValueError(
                f"This optimizer cannot train the task: {error}. Choose another, such as AdamW."
            ) from error
        if isinstance(optimizer, torch.optim.SparseAdam):
            raise ValueError(
                "SparseAdam needs sparse gradients, and images give dense ones. Use Adam."
            )
        return optimizer

    def _no_weight_decay(self) -> set[str]:
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store how to rebuild this task, as plain data."""
        checkpoint["recipe"] = self.recipe

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # the checkpoint alone says everything
        cls, checkpoint_path: str | Path | IO[bytes], **kwargs: Any
    ) -> "ImageTask":
        """Rebuild a task from a checkpoint. See ``load_task``; there are no further arguments."""
        if kwargs:
            raise ValueError(
                f"The checkpoint alone rebuilds the task; drop the arguments {', '.join(kwargs)}."
            )
        return load_task(checkpoint_path)


def load_task(checkpoint_path: str | Path | IO[bytes]) -> ImageTask:
    """Rebuild a task from a checkpoint alone.

    There is no download, and nothing is unpickled but tensors and plain data.

    Returns:
        The task in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool.
    """
    if isinstance(checkpoint_path, str | Path):
        _check_file(Path(checkpoint_path))
    checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    recipe = checkpoint.get("recipe") if isinstance(checkpoint, dict) else None
    if recipe is None:
        raise ValueError(
            f"{checkpoint_path} is no checkpoint of tltool: it does not say how to rebuild the "
            "model. To start from its weights, train with `model.backbone.weights` set to this "
            "file."
        )
    # The weights follow in the state dict; `random` keeps them from being looked for.
    backbone = rebuild(recipe["backbone"], weights="random", allow_partial=[])
    assert isinstance(backbone, Backbone)  # noqa: S101  # the recipe was written from one
    task = ImageTask(
        backbone,
        lambda num_features, num_classes: rebuild(recipe["head"]),
        num_classes=recipe["num_classes"],
        class_names=recipe["class_names"],
        data_config=recipe["data_config"],
        label_smoothing=recipe["label_smoothing"],
    )
    task.load_state_dict(checkpoint["state_dict"])
    task.recipe = recipe  # It still names the weights that training began with.
    return task.eval()


def _check_file(path: Path) -> None:
    if path.is_file():
        return
    raise FileNotFoundError(
        f"There is no checkpoint {str(path)!r}. Name a file, for example "
        "runs/photos/0/checkpoints/best.ckpt."
    )
