"""Agreement of an export with its checkpoint: how far apart their outputs are."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tltool.training.image_task import ImageTask

TOLERANCE = 1e-4
"""How far the logits of an export may be from those of the task, as a share of the largest one, or
of 1 where all are smaller. Rounding makes about 1e-6."""
ROUNDING = 1e-6
"""What a number in 32 bits may lose by rounding, as a share of it."""
NUM_IMAGES = 3
"""Of a comparison: neither one image nor the number that a graph was recorded with."""


class Agreement(NamedTuple):
    """How far the outputs of an export are from those of its task, on the same images.

    Attributes:
        difference: The largest one of an output; of a regression, of a standardized value.
        scale: The largest output, at least 1; where numbers of a regression have units, at least
            what these lose by rounding.
        num_changed: Images whose most probable class is another; ``None`` where there are none.
        num_images: Images that were compared.
    """

    difference: float
    scale: float
    num_changed: int | None
    num_images: int

    @property
    def agrees(self) -> bool:
        """Whether the difference is within `TOLERANCE`."""
        return self.difference <= TOLERANCE * self.scale

    def __str__(self) -> str:
        said = f"{self.difference:.1g} at most between outputs of up to {self.scale:.3g}"
        if self.num_changed is None:
            return f"{said}, on {self.num_images} images"
        return f"{said}, {self.num_changed} of {self.num_images} images with another class"


def example_images(task: ImageTask, *, num_images: int = NUM_IMAGES) -> Tensor:
    """Return random images ``(B, C, H, W)`` of the size that a task takes, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_images, *task.data_config["input_size"], generator=generator)


@torch.no_grad()
def compare(
    task: ImageTask, model: nn.Module, *, num_images: int = NUM_IMAGES, in_units: bool = False
) -> Agreement:
    """Compare the outputs of a task and of another network on `example_images`.

    Args:
        task: The task.
        model: The other network.
        num_images: How many images.
        in_units: The other one gives the numbers of a regression in the units of its target. They
            are standardized again, for beside a large mean all of them look alike.
    """
    images = example_images(task, num_images=num_images)
    weight = next(task.parameters(), images)
    task.eval()
    # By `forward`, for a compiled backbone would be compiled here, which takes minutes.
    expected = task.head(task.backbone.forward(images.to(weight)))
    found, expected = model(images), expected.to("cpu", torch.float32)
    rounded = 0.0
    if in_units and task.objective == "regression":
        mean, std = float(task.target_mean), float(task.target_std)
        found, rounded = (found - mean) / std, ROUNDING / TOLERANCE * abs(mean) / std
    changed = int((found.argmax(dim=1) != expected.argmax(dim=1)).sum())
    return Agreement(
        difference=float((found - expected).abs().max()),
        scale=max(1.0, rounded, float(expected.abs().max())),
        num_changed=None if task.objective == "regression" else changed,
        num_images=len(images),
    )


def check_agreement(found: Agreement, what: str) -> Agreement:
    """Return a comparison, or refuse an export that computes something else.

    Raises:
        ValueError: If the logits differ by more than `TOLERANCE`, or are no numbers.
    """
    if not found.agrees:
        raise ValueError(
            f"{what} gives other outputs than the checkpoint: {found}; {TOLERANCE:g} of the "
            "largest one is allowed. Nothing was written: choose another format, and leave out "
            "--fold_norms if it was set."
        )
    return found
