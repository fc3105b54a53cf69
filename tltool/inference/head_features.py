"""The features that a network hands to its head, kept while it predicts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class HeadFeatures:
    """The features of the batches that passed since they were taken last."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def listen(self, task: nn.Module) -> RemovableHandle:
        """Begin to listen to what the head of a task gets; the handle ends it."""
        return task.get_submodule("head").register_forward_pre_hook(self._add)

    def _add(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Keep the features of a pass."""
        self._parts.append(inputs[0].detach().float().cpu())

    def take(self) -> Tensor:
        """Return them, ``(B, D)``, and begin anew.

        Where a batch has passed several times, as flipped versions of its images do, it is their
        mean; where none has, there are none.
        """
        parts, self._parts = self._parts, []
        return torch.stack(parts).mean(dim=0) if parts else torch.zeros(0, 0)


@contextmanager
def head_features(task: nn.Module) -> Iterator[HeadFeatures]:
    """Keep what the head of a task gets.

    Example:
        >>> task = nn.Sequential()
        >>> task.head = nn.Linear(3, 2)
        >>> with head_features(task) as features:
        ...     _ = task.head(torch.ones(4, 3))
        ...     features.take().shape
        torch.Size([4, 3])
    """
    found = HeadFeatures()
    handle = found.listen(task)
    try:
        yield found
    finally:
        handle.remove()
