"""Format of a batch: the dict that a task learns from, made of what other data modules give."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tltool._objective import Objective

_INPUTS = ("images", "features", "activations")
_NEEDED = (
    "A task takes a dict of `images` (B, C, H, W), floats as its preprocessing makes them, and "
    "`labels`, or a pair (images, labels) of them"
)
_LABELS: dict[Objective, str] = {
    "single_label": "(B,) whole numbers from 0 on, or (B, num_classes) shares of mixed images",
    "multi_label": "(B, num_classes) of 0 and 1",
    "regression": "(B,) floats",
}


def as_named_batch(
    batch: Any, *, objective: Objective, num_classes: int, is_labeled: bool = True
) -> dict[str, Any]:
    """Return a batch as a dict, see `ImageTask`.

    A dict with what is needed is returned as it is; a pair, as `TensorDataset` and the data sets of
    torchvision give, gets its names. Images without labels are a tensor, or alone in a list.

    Args:
        batch: What a loader gave, on its device.
        objective: What the labels are.
        num_classes: Number of classes.
        is_labeled: Whether there must be labels: not in prediction.

    Raises:
        TypeError: If it is of another form; the message says which is needed.
        ValueError: If images or labels are of another shape or type.

    Example:
        >>> import torch
        >>> images, labels = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
        >>> kind = {"objective": "single_label", "num_classes": 2}
        >>> list(as_named_batch((images, labels), **kind))
        ['images', 'labels']
        >>> as_named_batch({"image": images, "label": labels}, **kind)
        Traceback (most recent call last):
        ...
        TypeError: The batch is a dict of image, label. A task takes a dict of `images` ...
    """
    if isinstance(batch, Mapping):
        _check_keys(batch, objective, is_labeled=is_labeled)
        return dict(batch)
    parts = list(batch) if isinstance(batch, list | tuple) else [batch]
    wanted = {2} if is_labeled else {1, 2}
    if len(parts) not in wanted or not all(isinstance(part, Tensor) for part in parts):
        of = f" of {len(parts)}" if isinstance(batch, list | tuple) else ""
        raise TypeError(f"The batch is a {type(batch).__name__}{of}. {_needs(objective)}")
    images = parts[0]
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"The images are {_describe(images)}. {_needs(objective)}")
    if not is_labeled:
        return {"images": images}
    labels = _checked_labels(parts[1], len(images), objective, num_classes)
    if objective == "single_label" and labels.ndim == 2:  # Of torchvision's MixUp and CutMix.
        return {"images": images, "labels": labels, "hard_labels": labels.argmax(dim=1)}
    return {"images": images, "labels": labels}


def _check_keys(batch: Mapping[str, Any], objective: Objective, *, is_labeled: bool) -> None:
    has_input = any(name in batch for name in _INPUTS)
    is_empty = batch.get("paths") == []  # The share of a rank where images are too few for all.
    if not is_empty and not (has_input and ("labels" in batch or not is_labeled)):
        names = ", ".join(map(str, batch)) or "nothing"
        raise TypeError(f"The batch is a dict of {names}. {_needs(objective)}")


def _checked_labels(labels: Tensor, number: int, objective: Objective, num_classes: int) -> Tensor:
    shapes: dict[Objective, set[tuple[int, ...]]] = {
        "single_label": {(number, num_classes)} if labels.is_floating_point() else {(number,)},
        "multi_label": {(number, num_classes)},
        "regression": {(number,)},
    }
    if tuple(labels.shape) not in shapes[objective]:
        raise ValueError(f"The labels are {_describe(labels)}. {_needs(objective)}")
    if objective != "single_label" or labels.ndim == 2:
        return labels.float()
    if labels.device.type == "cpu":  # A look at those on a GPU would wait for it.
        _check_range(labels, num_classes)
    return labels.long()


def _check_range(labels: Tensor, num_classes: int) -> None:
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= num_classes:
        raise ValueError(
            f"The labels are from {least} to {most}, and there are {num_classes} classes, "
            "numbered from 0 on. Set `num_classes` of the task, or number them so."
        )


def _needs(objective: Objective) -> str:
    return f"{_NEEDED}; labels are {_LABELS[objective]}."


def _describe(values: Tensor) -> str:
    return f"{tuple(values.shape)} of {str(values.dtype).removeprefix('torch.')}"
