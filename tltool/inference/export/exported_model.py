"""The network of a task alone: backbone and head as one plain module that computes logits."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from tltool.inference.export.agreement import check_agreement, compare, example_images
from tltool.layers.input_norms import fold_into_linear, is_foldable
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.surgery import norm_folding
from tltool.surgery.adapters import has_lora
from tltool.training.image_task import ImageTask

M = TypeVar("M", bound=nn.Module)


class ExportedModel(nn.Module):
    """Backbone and head in evaluation mode, for images that are prepared already.

    Args:
        backbone: The network in front of the head.
        head: Makes logits of its features.

    Attributes:
        changes: What was merged and folded, in sentences.

    Shape:
        - Input: ``(B, C, H, W)``
        - Output: ``(B, num_outputs)``, the logits of the task
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.changes: list[str] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


def exported_model(task: ImageTask, *, fold_norms: bool = False) -> ExportedModel:
    """Return the network of a task without what only training needs; the task is left as it is.

    Adapters are merged into their weights, and the input norm of a `Head` becomes part of the layer
    behind it where it is a fixed affine map, all but ``l2``. Memory format, compilation and
    gradient checkpointing are the usual ones again.

    Args:
        task: The task; its device does not matter.
        fold_norms: Fold batch norms too, see the edit of this name; those that no layer can take
            stay.

    Returns:
        The model, on the CPU in 32 bits and in evaluation mode. Its logits are those of the task
        within `TOLERANCE`.

    Raises:
        ValueError: If there are no batch norms to fold, or its logits are others.

    Example:
        >>> from functools import partial
        >>> head = partial(Head, input_norm="batch")
        >>> task = ImageTask(Backbone("test_resnet", weights="random"), head, num_classes=2)
        >>> model = exported_model(task.eval(), fold_norms=True)
        >>> model.changes
        ['The input norm BatchNorm is part of the layer behind it.',
         'Folded 15 of 15 batch norms.']
    """
    model = ExportedModel(_plain_copy(task.backbone), _plain_copy(task.head))
    _plain_backbone_(model.backbone)
    if has_lora(model.backbone):
        model.backbone.merge_adapters_()
        model.changes.append("The adapters (LoRA) are merged into the weights.")
    if isinstance(model.head, Head):
        model.changes += _fold_input_norm_(model.head)
    if fold_norms:
        example = example_images(task, num_images=1)
        model.changes.append(str(norm_folding.fold_norms(model, example=example)))
    check_agreement(compare(task, model), "The model with its edits merged")
    return model


@torch.no_grad()
def give_target_units_(model: ExportedModel, task: ImageTask) -> ExportedModel:
    """Let the head of a regression give numbers in the units of its target, in place.

    Without tltool nothing else knows the mean and the deviation that its outputs are standardized
    by. The head of another objective stays as it is.

    Raises:
        ValueError: If the head is neither a `Head` nor a linear layer.
    """
    if task.objective != "regression":
        return model
    output = model.head.output if isinstance(model.head, Head) else model.head
    if not isinstance(output, nn.Linear) or output.bias is None:
        raise ValueError(
            f"The head {type(model.head).__name__} of a regression ends in no linear layer with a "
            "bias, which could take the units of the target. Use tltool's own head, or export "
            "--to safetensors."
        )
    mean, std = task.target_mean.to(output.weight), task.target_std.to(output.weight)
    output.weight.mul_(std)
    output.bias.mul_(std).add_(mean)
    model.changes.append(f"The outputs are {task.class_names[0]} in its own units.")
    return model


def _plain_copy(module: M) -> M:
    module = copy.deepcopy(module)  # A compiled one is plain again.
    return module.to("cpu", torch.float32).eval().requires_grad_(False)


def _plain_backbone_(backbone: Backbone) -> None:
    backbone.channels_last = False
    backbone.to(memory_format=torch.contiguous_format)
    if backbone.description["init_args"]["grad_checkpointing"]:
        backbone.model.set_grad_checkpointing(False)


def _fold_input_norm_(head: Head) -> list[str]:
    """Make the input norm part of the layer behind it, and return the sentence that says so."""
    norm, linear = head.input_norm, head.first_linear
    if norm is None or not is_foldable(norm):
        return []
    (place,) = (name for name, module in head.named_modules() if module is linear)
    head.set_submodule(place, fold_into_linear(norm, linear))
    head.input_norm = None
    return [f"The input norm {type(norm).__name__} is part of the layer behind it."]
