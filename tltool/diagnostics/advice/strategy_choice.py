"""Choice of a strategy for a task and its data: the facts that `Auto` decides by."""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.finetuning.strategies import Auto, FinetuningStrategy
from tltool.finetuning.strategies.auto import TrainingFacts
from tltool.models.forward_compute import forward_shares
from tltool.models.layer_groups import layer_groups

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule


def choose_strategy(
    task: Any,
    data: "ImageDataModule",
    *,
    max_epochs: int,
    on_gpu: bool = False,
    auto: Auto | None = None,
) -> tuple[FinetuningStrategy, str]:
    """Return the strategy that `Auto` chooses, and the reason in words.

    Args:
        task: With a ``backbone`` and a ``head``.
        data: The images that it would train on.
        max_epochs: Length of training.
        on_gpu: Whether it would be on a GPU.
        auto: The rule; ``None`` for the usual one.

    Example:
        >>> from tltool import Backbone, DigitsDataModule, ImageTask
        >>> backbone = Backbone("test_resnet", weights="random")
        >>> data = DigitsDataModule(data_config=backbone.data_config)
        >>> choose_strategy(ImageTask(backbone, num_classes=10), data, max_epochs=5)[1]
        'the weights are random'
    """
    facts = training_facts(task, data, max_epochs=max_epochs, on_gpu=on_gpu)
    return (auto or Auto()).choose(facts)


def training_facts(
    task: Any, data: "ImageDataModule", *, max_epochs: int, on_gpu: bool
) -> TrainingFacts:
    """Return what `Auto` decides by; for the arguments see `choose_strategy`."""
    backbone = task.backbone
    groups = layer_groups(task)
    of_backbone = {
        group: [name.removeprefix("backbone.") for name in names]
        for group, names in groups.items()
        if group != "head"
    }
    device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *backbone.data_config["input_size"], device=device)
    with torch.compiler.set_stance("force_eager"):
        shares = forward_shares(backbone, of_backbone, image) if of_backbone else {}
    return TrainingFacts(
        num_images=len(data.samples("train")),
        num_classes=data.num_classes,
        forward_shares=shares,
        has_batch_norm=any(isinstance(module, _BatchNorm) for module in backbone.modules()),
        is_pretrained=backbone.weights != "random",
        on_gpu=on_gpu,
        max_epochs=max_epochs,
    )
