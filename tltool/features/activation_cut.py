"""The cut behind the frozen layers of a network: activations there are kept, the rest trains."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.features.folding import fold_batch_norms
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
    `set_trainable_` leaves it. In front of the first other layer all must be frozen, and only the
    output of the last of them may be read behind it, which a pass over some images must confirm.

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
        front, again = calls[:first], {name for name, _ in calls[first:]}
        if not front or not again:
            return "no frozen layer runs in front of the first one that trains"
        unusual = [name for name, output in front if not _is_batch(output, len(images))]
        if unusual:
            return f"{unusual[0]} does not give one tensor for each batch"
        boundary = front[-1][0]
        if boundary in again:
            return f"{boundary} runs again behind the first layer that trains"
        shapes = {name: tuple(out.shape[1:]) for name, out in front if name not in again}
        cut = ActivationCut(boundary, shapes, shapes[boundary])
        expected = backbone(images)
        found = features_behind(backbone, cut, activations_in_front(backbone, cut, images))
        if not _is_close(found, expected):
            return "layers that train read more than the output of the last frozen one"
    return cut


def _obstacle(backbone: Backbone) -> str | None:
    """Return why a network does not run in training as its modules say, if so."""
    if backbone._compiled_call_impl is not None:
        return "the network is compiled as a whole"
    if any(getattr(module, "grad_checkpointing", False) for module in backbone.modules()):
        return "gradient checkpointing runs layers again in the backward pass"
    return None


def _layers(backbone: Backbone) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Return the outermost modules that are frozen as a whole, and the other ones of interest.

    Those hold a trained parameter themselves, or have no children.
    """
    frozen: dict[str, nn.Module] = {}
    others: dict[str, nn.Module] = {}
    for name, module in backbone.named_modules():
        if name in {"", "model"} or any(name.startswith(f"{outer}.") for outer in frozen):
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
    """Return the layers that run, in order: frozen ones when they end, each with its output."""
    calls: list[tuple[str, Any]] = []

    def ends(name: str) -> Any:
        return lambda module, inputs, output: calls.append((name, output))

    def begins(name: str) -> Any:
        return lambda module, inputs: calls.append((name, None))

    hooks = [layer.register_forward_hook(ends(name)) for name, layer in frozen.items()]
    hooks += [layer.register_forward_pre_hook(begins(name)) for name, layer in others.items()]
    try:
        backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _is_batch(output: object, size: int) -> bool:
    return isinstance(output, Tensor) and output.ndim > 1 and len(output) == size


def _is_close(found: Tensor, expected: Tensor) -> bool:
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


def features_behind(backbone: Backbone, cut: ActivationCut, activations: Tensor) -> Tensor:
    """Return the features ``(B, num_features)`` of activations ``(B, *shape)`` at a cut.

    The network runs as it is, with the modules in front of the cut replaced by the shape of what
    they give: what it does between its modules stays as its author wrote it.
    """
    images = activations.new_zeros(len(activations), *backbone.data_config["input_size"])
    if backbone.channels_last and activations.ndim == 4:
        activations = activations.contiguous(memory_format=torch.channels_last)
    with _replaced(backbone, cut, activations):
        return backbone._features(backbone.model, images)


@contextmanager
def _replaced(backbone: Backbone, cut: ActivationCut, activations: Tensor) -> Iterator[None]:
    """Let each module in front of a cut give zeros, and the last one the activations."""
    modules = {name: backbone.get_submodule(name) for name in cut.skipped}
    for name, module in modules.items():
        shape = (len(activations), *cut.skipped[name])
        given = activations if name == cut.boundary else activations.new_zeros(shape)
        module.forward = _giving(given)
    try:
        yield
    finally:
        for module in modules.values():
            del module.forward  # Its class has it.


def _giving(output: Tensor) -> Any:
    return lambda *args, **kwargs: output


class FrozenFront(nn.Module):
    """The layers of a backbone in front of a cut, from images to rows of activations.

    It holds only these layers, so that the name of what it computes stays while the others train.

    Args:
        backbone: The network.
        cut: From `find_cut`.
        dtype: Of the rows: half the space of 32 bits.
    """

    def __init__(
        self, backbone: Backbone, cut: ActivationCut, dtype: torch.dtype = torch.float16
    ) -> None:
        super().__init__()
        self._whole = (backbone,)  # In a tuple, so that it is no child.
        self.cut = cut
        self.dtype = dtype
        self.num_features = cut.size
        init_args = backbone.description["init_args"]
        cut_there = {"boundary": cut.boundary, "dtype": str(dtype)}
        self.description = {**backbone.description, "init_args": {**init_args, **cut_there}}
        for name in cut.skipped:
            self.add_module(name.replace(".", "/"), backbone.get_submodule(name))
        for name, parameter in backbone.named_parameters():
            is_inside = any(name.startswith(f"{module}.") for module in cut.skipped)
            if not (parameter.requires_grad or is_inside):  # Such as pos_embed.
                self.register_parameter(name.replace(".", "/"), parameter)
        for name, buffer in backbone.model.named_buffers(recurse=False):
            self.register_buffer(f"buffer/{name}", buffer)

    def forward(self, images: Tensor) -> Tensor:
        """Return rows ``(B, size)`` of images ``(B, C, H, W)``."""
        activations = activations_in_front(self._whole[0], self.cut, images)
        return activations.flatten(1).to(self.dtype)

    def folded(self, images: Tensor) -> "FrozenFront | None":
        """Return these layers with batch norms folded, if that gives the same rows of images."""
        backbone = self._whole[0]
        with evaluation_mode(backbone):
            network = fold_batch_norms(backbone, images)
            if not isinstance(network, Backbone):
                return None
            front = FrozenFront(network, self.cut, torch.float32)
            expected = FrozenFront(backbone, self.cut, torch.float32)(images)
            if not _is_close(front(images), expected):
                return None  # A frozen convolution right in front of a batch norm that trains.
        front.dtype = self.dtype
        return front
