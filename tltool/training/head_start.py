"""The start of a head, from features of the training images: its input norm and its weights."""

import logging
import time
from collections.abc import Callable
from typing import Any, Unpack

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.features.extraction import extract_features
from tltool.finetuning.schedule import Schedule
from tltool.layers.fitted_norms import FittedNorm
from tltool.models.heads import Head
from tltool.models.label_loss import LossOptions
from tltool.models.ridge_probe import CHEAP
from tltool.models.target_probe import fit_probe
from tltool.training.backbone_start import start_backbone_
from tltool.training.class_frequencies import fit_options
from tltool.training.classifier import Classifier
from tltool.training.head_fit import fit_head_

log = logging.getLogger(__name__)


def start_head_(
    task: LightningModule, data: Any, *, read: Callable[[], Tensor] | None = None
) -> LightningModule:
    """Fit the input norm of a task's head, and let a linear head begin as the closed-form probe.

    A head with hidden layers is trained on the features, if the backbone trains in some phase.
    What edits of the backbone take from images comes first, see `start_backbone_`. It is done
    once, the same on every rank; in a run that is resumed it was done before.

    Args:
        task: A task with a ``backbone`` and a ``head``, whose ``closed_form_start`` says that the
            head has yet to begin; with a Trainer, its ranks share the result.
        data: The datamodule with the training images.
        read: Returns the features of all training images, such as cached ones; every rank
            calls it. ``None`` passes the images through the backbone on the first rank.

    Returns:
        ``task``.

    Raises:
        ValueError: If an input norm must be fitted, and ``data`` is no datamodule of tltool; or
            the features are not finite.
    """
    start_backbone_(task, data)
    head, trainer = task.get_submodule("head"), getattr(task, "_trainer", None)
    norm = getattr(head, "input_norm", None)
    needs_norm = isinstance(norm, FittedNorm) and not norm.is_fitted
    starts = getattr(task, "closed_form_start", False) and leaves_start(head)
    starts = starts and isinstance(data, ImageDataModule) and not is_limited(trainer)
    starts = starts and (has_closed_form(head) or _trains_backbone(task))
    if not (needs_norm or starts):
        return task
    if not isinstance(data, ImageDataModule):
        raise ValueError(
            "The head's `input_norm` must be fitted on the training features, and the Trainer "
            "has no datamodule of tltool. Call task.head.input_norm.fit_(features) first."
        )
    is_first = trainer is None or trainer.is_global_zero
    features = read() if read else (_passed(task, data) if is_first else None)
    if is_first and features is not None:
        features = features.float().to(task.device)
        if isinstance(norm, FittedNorm) and needs_norm:
            norm.fit_(features)
        if starts:
            labels = torch.tensor(data.samples("train").labels, device=task.device)
            loss = fit_options(task, labels, data.sampling)
            labels = task.standardized(labels) if isinstance(task, Classifier) else labels
            if isinstance(head, Head) and has_closed_form(head):
                start_from_probe_(head, features, labels, **loss)
            else:
                fit_head_(head, features, labels, **loss)
    task.closed_form_start = False  # type: ignore[assignment]  # no module
    if trainer is not None:
        _wait_for_first_rank()
        head.load_state_dict(trainer.strategy.broadcast(head.state_dict()))
    return task


def has_closed_form(head: nn.Module) -> bool:
    """Tell whether a head is linear, and has no batch norm on its inputs."""
    if not isinstance(head, Head) or isinstance(head.input_norm, nn.modules.batchnorm._BatchNorm):
        return False
    return not any(isinstance(layer, nn.Linear) for layer in head.hidden.modules())


def leaves_start(head: nn.Module) -> bool:
    """Tell whether a head leaves it to us how its output weights begin."""
    given = getattr(head, "description", {}).get("init_args", {})
    return given.get("output_initializer", "auto") == "auto" and not given.get("output_bias", 0.0)


def _trains_backbone(task: LightningModule) -> bool:
    """Tell whether the backbone trains: in a phase of a schedule, or without one by now."""
    callbacks = getattr(getattr(task, "_trainer", None), "callbacks", ())
    for schedule in (getattr(callback, "schedule", None) for callback in callbacks):
        if isinstance(schedule, Schedule):
            return any(set(phase.groups) != {"head"} for phase in schedule.phases)
    backbone = task.get_submodule("backbone")
    return any(parameter.requires_grad for parameter in backbone.parameters())


def is_limited(trainer: Any) -> bool:
    """Tell whether a Trainer trains on few batches, as a try: it should not pass all images.

    As a number with a point, a limit is a share: 1.0 is all, and 1 is one batch.
    """
    if trainer is None:
        return False
    limits = (trainer.limit_train_batches, trainer.limit_val_batches)
    whole = all(limit == 0 or (isinstance(limit, float) and limit == 1) for limit in limits)
    return bool(trainer.fast_dev_run or trainer.overfit_batches or not whole)


@torch.no_grad()
def start_from_probe_(
    head: Head, features: Tensor, labels: Tensor, **loss: Unpack[LossOptions]
) -> Head:
    """Set a linear head to the closed-form probe, so that training begins at its accuracy.

    A head that fits the features does not distort them when the backbone begins to train (Kumar et
    al., 2022, https://arxiv.org/abs/2202.10054). See `fit_ridge_probe`; of many images a random
    share is enough, so that the fit takes some ten seconds.

    Args:
        head: A linear head, its input norm fitted.
        features: Of the training images, ``(N, num_features)``.
        labels: As `label_loss` takes them.
        **loss: See `LossOptions`.

    Returns:
        ``head``.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 0.8], [1.0, 0.1], [0.9, 0.2]])
        >>> head = start_from_probe_(Head(2, 2), features, torch.tensor([0, 0, 1, 1]))
        >>> head(features).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    width = features.shape[1]
    enough = int(max(CHEAP / width**2, (CHEAP / width) ** 0.5))
    if len(features) > enough:
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(features), generator=generator)[:enough].to(labels.device)
        features, labels = features[chosen], labels[chosen]
    if head.input_norm is not None:
        features = head.input_norm(features)
    num_classes = head.output.out_features
    features, labels = features.cpu(), labels.cpu()
    weights = loss.get("class_weights")
    if weights is not None:
        loss["class_weights"] = weights.cpu()
    probe = fit_probe(features, labels, num_classes, **loss)
    weight, bias = probe.linear()
    head.output.weight.copy_(weight)
    head.output.bias.copy_(bias)
    return head


def _passed(task: LightningModule, data: ImageDataModule) -> Tensor:
    """Return the features of all training images, passed through the backbone now."""
    backbone: Any = task.get_submodule("backbone")
    loader = data.evaluation_dataloader("train")
    words = "features for the start of the head"
    return extract_features(backbone, loader, description=words, total=len(loader))[0]


def _wait_for_first_rank() -> None:
    """Let the other ranks wait for the first one, however long its images take.

    In a collective call they would wait no longer than the time limit of the process group.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    store = dist.distributed_c10d._get_default_store()
    times = store.add(f"tltool-head-start/{dist.get_rank()}", 1)
    while store.add("tltool-head-start/0", 0) < times:
        time.sleep(0.1)
