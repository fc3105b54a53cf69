"""The cut behind the frozen layers of a network: activations there are kept, the rest trains."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.models.backbone import Backbone

TOLERANCE = 1e-4
"""Largest difference of features with and without the cut, as a share of their length."""


@dataclass(frozen=True)
class ActivationCut:
    """Where a network is cut.

    Attributes:
        boundary: The last module in front of the cut, whose output is kept.
        skipped: Shape of the output of each module in front of it, without the batch.
        shape: Of the activations of an image: that of the boundary's output without the batch.
    """

    boundary: str
    skipped: Mapping[str, tuple[int, ...]]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values that are kept of an image."""
        return math.prod(self.shape)


class _Reached(Exception):  # noqa: N818  # no error: it ends a pass
    """The pass has come to the cut."""

    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


def find_cut(backbone: Backbone, images: Tensor) -> ActivationCut | str:
    """Find where the frozen layers of a backbone end.

    A layer is frozen that has no gradients and is in evaluation mode as a whole, as
    `set_trainable_` leaves it. The cut lies as late as it can in front of the first other layer:
    only the output of one frozen layer may be read behind it. A pass over some images must confirm
    that, in which all other outputs in front of the cut are no numbers, so that one that is read,
    if only times zero, is noticed.

    Args:
        backbone: The network.
        images: ``(B, C, H, W)``, at least 2.

    Returns:
        The cut, or the reason why there is none.

    Example:
        >>> backbone = Backbone("test_resnet", weights="random", img_size=32).eval()
        >>> _ = backbone.requires_grad_(False).model.layer4.requires_grad_(True)
        >>> find_cut(backbone, torch.randn(2, 3, 32, 32)).boundary
        'model.layer3'
    """
    obstacle = _obstacle(backbone)
    if obstacle is not None:
        return obstacle
    frozen, others = _layers(backbone)
    with evaluation_mode(backbone), torch.inference_mode():
        calls = _calls(backbone, frozen, others, images)
        first = next((n for n, (name, _) in enumerate(calls) if name in others), len(calls))
        if first in {0, len(calls)}:
            return "no frozen layer runs in front of the first one that trains"
        expected = backbone(images)
        reasons = []
        for end in range(first, 0, -1):  # The later the cut, the less is left to do behind it.
            cut = _cut_at(calls, end, len(images))
            if isinstance(cut, ActivationCut):
                activations = activations_in_front(backbone, cut, images)
                found = features_behind(backbone, cut, activations, blank=_unusable)
                if is_close(found, expected):
                    return cut
            reasons.append(cut if isinstance(cut, str) else "layers behind it read more than that")
    return f"behind {calls[first - 1][0]}, {reasons[0]}"


def _cut_at(calls: Sequence[tuple[str, Any]], end: int, num_images: int) -> ActivationCut | str:
    """Return the cut in front of a call, or why there is none."""
    front, boundary = calls[:end], calls[end - 1][0]
    again = {name for name, _ in calls[end:]}
    if [name for name, _ in calls].count(boundary) > 1:
        return f"{boundary} runs several times"
    shapes: dict[str, tuple[int, ...]] = {}
    for name, output in front:
        if name in again:
            continue
        if not _is_batch(output, num_images):
            return f"{name} does not give one tensor for each batch"
        shape = tuple(output.shape[1:])
        if shapes.setdefault(name, shape) != shape:
            return f"{name} gives several shapes"
    return ActivationCut(boundary, shapes, shapes[boundary])


def _obstacle(backbone: Backbone) -> str | None:
    """Return why a network does not run in training as its modules say, if so."""
    if backbone._compiled_call_impl is not None:
        return "the network is compiled as a whole"
    if any(getattr(module, "grad_checkpointing", False) for module in backbone.modules()):
        return "gradient checkpointing runs layers again in the backward pass"
    return None


def _layers(backbone: Backbone) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Return the modules that are frozen as a whole, and the other ones of interest.

    Those hold a trained parameter themselves, or have no children.
    """
    frozen: dict[str, nn.Module] = {}
    others: dict[str, nn.Module] = {}
    for name, module in backbone.named_modules():
        if name in {"", "model"}:
            continue
        if not any(p.requires_grad for p in module.parameters()) and not any(
            member.training for member in module.modules()
        ):
            frozen[name] = module
        elif not list(module.children()) or any(
            p.requires_grad for p in module.parameters(recurse=False)
        ):
            others[name] = module
    return frozen, others


def _calls(
    backbone: Backbone,
    frozen: Mapping[str, nn.Module],
    others: Mapping[str, nn.Module],
    images: Tensor,
) -> list[tuple[str, Any]]:
    """Return the layers that run, in order: frozen ones when they end, each with its output.

    Of frozen ones within each other the outermost that runs; a list of layers does not.
    """
    calls: list[tuple[str, Any]] = []
    running: list[str] = []

    def ends(name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            running.remove(name)
            if not running:
                calls.append((name, output))

        return note

    def begins(name: str) -> Any:
        return lambda module, inputs: calls.append((name, None))

    hooks = []
    for name, layer in frozen.items():
        hooks.append(layer.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        hooks.append(layer.register_forward_hook(ends(name)))
    hooks += [layer.register_forward_pre_hook(begins(name)) for name, layer in others.items()]
    try:
        backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _is_batch(output: object, size: int) -> bool:
    return isinstance(output, Tensor) and output.ndim > 1 and len(output) == size


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


def _unusable(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return like.new_full(shape, torch.nan)


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
        shape = (len(activations), *cut.skipped[name])
        is_last = name == cut.boundary
        module.forward = _giving(activations if is_last else blank(activations, shape))
    try:
        yield
    finally:
        for module in modules.values():
            del module.forward  # Its class has it.


def _giving(output: Tensor) -> Any:
    return lambda *args, **kwargs: output
