"""The cut behind the frozen layers of a network: activations there are kept, the rest trains."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool.models.backbone import Backbone

TOLERANCE = 1e-4
"""Largest difference of features with and without the cut, as a share of their length."""


@dataclass(frozen=True)
class BatchShape:
    """The shape of a tensor without the batch; what a layer gives is a nest of these."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class ActivationCut:
    """Where a network is cut.

    Attributes:
        boundary: The last module in front of the cut, whose output is kept.
        skipped: What each module in front of it gives, call by call, with a `BatchShape` in place
            of each tensor.
        shape: Of the activations of an image: that of the boundary's output without the batch.
    """

    boundary: str
    skipped: Mapping[str, tuple[Any, ...]]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values that are kept of an image."""
        return math.prod(self.shape)


class _Reached(Exception):  # noqa: N818  # no error: it ends a pass
    """The pass has come to the cut."""

    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


def is_close(found: Tensor, expected: Tensor) -> bool:
    """Tell whether rows of features are the same up to `TOLERANCE`."""
    if found.shape != expected.shape:
        return False
    difference = (found - expected).flatten(1).norm(dim=1)
    return bool((difference <= TOLERANCE * expected.flatten(1).norm(dim=1)).all())


def activations_in_front(backbone: Backbone, cut: ActivationCut, images: Tensor) -> Tensor:
    """Return the activations ``(B, *shape)`` at a cut; the layers behind it do not run."""

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise _Reached(output)

    hook = backbone.get_submodule(cut.boundary).register_forward_hook(stop)
    try:
        backbone(images)
    except _Reached as reached:
        return reached.activations
    finally:
        hook.remove()
    raise RuntimeError(f"{cut.boundary} did not run.")


def features_behind(
    backbone: Backbone,
    cut: ActivationCut,
    activations: Tensor,
    *,
    blank: Callable[[Tensor, tuple[int, ...]], Tensor] = Tensor.new_empty,
) -> Tensor:
    """Return the features ``(B, num_features)`` of activations ``(B, *shape)`` at a cut.

    The network runs as it is, with the modules in front of the cut replaced by the shape of what
    they give: what it does between its modules stays as its author wrote it.

    Args:
        backbone: The network.
        cut: From `find_cut`.
        activations: From `activations_in_front`.
        blank: Makes the tensors in front of the cut, from one like them and a shape; that they are
            not even filled saves a tenth of a step on a CPU.
    """
    images = blank(activations, (len(activations), *backbone.data_config["input_size"]))
    if backbone.channels_last and activations.ndim == 4:
        activations = activations.contiguous(memory_format=torch.channels_last)
    with _replaced(backbone, cut, activations, blank):
        return backbone._features(backbone.model, images)


class LayersBehind(nn.Module):
    """The layers of a backbone behind a cut, from rows of activations to features.

    Args:
        backbone: The network.
        cut: From `find_cut`.

    Shape:
        - Input: ``(B, cut.size)``
        - Output: ``(B, num_features)``
    """

    def __init__(self, backbone: Backbone, cut: ActivationCut) -> None:
        super().__init__()
        self.backbone = backbone
        self.cut = cut

    def forward(self, rows: Tensor) -> Tensor:
        """Return the features of rows."""
        return features_behind(self.backbone, self.cut, rows.view(-1, *self.cut.shape))


@contextmanager
def _replaced(
    backbone: Backbone,
    cut: ActivationCut,
    activations: Tensor,
    blank: Callable[[Tensor, tuple[int, ...]], Tensor],
) -> Iterator[None]:
    """Let each module in front of a cut give blanks, and the last one the activations."""
    modules = {name: backbone.get_submodule(name) for name in cut.skipped}
    for name, module in modules.items():
        blanks = [_cast(mold, activations, blank) for mold in cut.skipped[name]]
        module.forward = _giving([activations] if name == cut.boundary else blanks)
    try:
        yield
    finally:
        for module in modules.values():
            del module.forward  # Its class has it.


def _cast(mold: Any, like: Tensor, blank: Callable[[Tensor, tuple[int, ...]], Tensor]) -> Any:
    """Return what a module gives, with blanks for tensors."""
    if isinstance(mold, BatchShape):
        return blank(like, (len(like), *mold.shape))
    if isinstance(mold, list | tuple):
        return type(mold)(_cast(part, like, blank) for part in mold)
    return mold


def _giving(outputs: Sequence[Any]) -> Any:
    """Return a function that gives one output after the other."""
    calls = itertools.cycle(outputs)
    return lambda *args, **kwargs: next(calls)
