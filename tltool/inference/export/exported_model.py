"""The network of a task alone: backbone and head as one plain module that computes logits."""

import copy
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from tltool.layers.input_norms import fold_into_linear, is_foldable
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.surgery import norm_folding
from tltool.surgery.adapters import has_lora
from tltool.training.image_task import ImageTask

M = TypeVar("M", bound=nn.Module)

TOLERANCE = 1e-4
"""How far the logits of an export may be from those of the task, as a share of the largest one, or
of 1 where all are smaller. Rounding makes about 1e-6."""
NUM_IMAGES = 3
"""Of a comparison: neither one image nor the number that a graph was recorded with."""


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


class Agreement(NamedTuple):
    """How far the logits of an export are from those of its task, on the same images.

    Attributes:
        difference: The largest one of a logit.
        scale: The largest logit, at least 1.
        num_changed: Images whose most probable class is another.
        num_images: Images that were compared.
    """

    difference: float
    scale: float
    num_changed: int
    num_images: int

    @property
    def agrees(self) -> bool:
        """Whether the difference is within `TOLERANCE`."""
        return self.difference <= TOLERANCE * self.scale

    def __str__(self) -> str:
        return (
            f"{self.difference:.1g} at most between logits of up to {self.scale:.3g}, "
            f"{self.num_changed} of {self.num_images} images with another class"
        )


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


def example_images(task: ImageTask, *, num_images: int = NUM_IMAGES) -> Tensor:
    """Return random images ``(B, C, H, W)`` of the size that a task takes, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_images, *task.data_config["input_size"], generator=generator)


@torch.no_grad()
def compare(task: ImageTask, model: nn.Module, *, num_images: int = NUM_IMAGES) -> Agreement:
    """Compare the logits of a task and of another network on `example_images`."""
    images = example_images(task, num_images=num_images)
    weight = next(task.parameters(), images)
    task.eval()
    # By `forward`, for a compiled backbone would be compiled here, which takes minutes.
    expected = task.head(task.backbone.forward(images.to(weight))).to("cpu", torch.float32)
    found = model(images)
    return Agreement(
        difference=float((found - expected).abs().max()),
        scale=max(1.0, float(expected.abs().max())),
        num_changed=int((found.argmax(dim=1) != expected.argmax(dim=1)).sum()),
        num_images=len(images),
    )


def check_agreement(found: Agreement, what: str) -> Agreement:
    """Return a comparison, or refuse an export that computes something else.

    Raises:
        ValueError: If the logits differ by more than `TOLERANCE`, or are no numbers.
    """
    if not found.agrees:
        raise ValueError(
            f"{what} gives other logits than the checkpoint: {found}; {TOLERANCE:g} of the largest "
            "logit is allowed. Nothing was written: choose another format, and leave out "
            "--fold_norms if it was set."
        )
    return found


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
