"""Search for the place where a network can be cut behind its frozen layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.features.activation_cut import (
    ActivationCut,
    BatchShape,
    activations_in_front,
    features_behind,
    is_close,
)
from tltool.models.backbone import Backbone


def find_cut(backbone: Backbone, images: Tensor | None = None) -> ActivationCut | str:
    """Find where the frozen layers of a backbone end.

    A layer is frozen that has no gradients and is in evaluation mode as a whole, as
    `set_trainable_` leaves it. The cut lies as late as it can in front of the first other layer:
    only the output of one frozen layer may be read behind it. A pass over some images must confirm
    that, in which all other outputs in front of the cut are no numbers, so that one that is read,
    if only times zero, is noticed.

    Args:
        backbone: The network.
        images: ``(B, C, H, W)``, at least 2; ``None`` for noise.

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
    if images is None:
        images = _noise(backbone)
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
                if not is_close(found, expected):
                    cut = "layers behind it read more than that"
                elif _reads_trained(backbone, cut, images):
                    cut = "layers in front of it read parameters that train"
                else:
                    return cut
            reasons.append(cut)
    return f"behind {calls[first - 1][0]}, {reasons[0]}"


def _reads_trained(backbone: Backbone, cut: ActivationCut, images: Tensor) -> bool:
    """Tell whether activations depend on a parameter that trains, which no layer's call shows."""
    with torch.inference_mode(False), torch.enable_grad():
        return activations_in_front(backbone, cut, images.clone()).requires_grad


def _noise(backbone: Backbone) -> Tensor:
    """Return two images of the size that a backbone takes, on its device and of its type."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, *backbone.data_config["input_size"]), generator=generator)
    return images.to(next(backbone.parameters()))


def _cut_at(calls: Sequence[tuple[str, Any]], end: int, num_images: int) -> ActivationCut | str:
    """Return the cut in front of a call, or why there is none."""
    front, boundary = calls[:end], calls[end - 1][0]
    again = {name for name, _ in calls[end:]}
    if [name for name, _ in calls].count(boundary) > 1:
        return f"{boundary} runs several times"
    molds: dict[str, tuple[Any, ...]] = {}
    for name, output in front:
        if name in again:
            continue
        mold = _mold(output, num_images)
        if mold is _NO_MOLD:
            return f"{name} gives more than a tensor for each batch"
        molds[name] = (*molds.get(name, ()), mold)
    (last,) = molds[boundary]
    if not isinstance(last, BatchShape):
        return f"{boundary} gives more than a tensor for each batch"
    return ActivationCut(boundary, molds, last.shape)


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


_NO_MOLD = object()


def _mold(output: object, num_images: int) -> Any:
    """Return an output with a `BatchShape` in place of each tensor, or `_NO_MOLD`."""
    if isinstance(output, Tensor):
        is_batch = output.ndim > 1 and len(output) == num_images and output.is_floating_point()
        return BatchShape(tuple(output.shape[1:])) if is_batch else _NO_MOLD
    if isinstance(output, list | tuple) and type(output) in {list, tuple}:  # No named ones.
        parts = [_mold(part, num_images) for part in output]
        if _NO_MOLD in parts:
            return _NO_MOLD
        return parts if isinstance(output, list) else tuple(parts)
    return output if output is None or isinstance(output, int | torch.Size) else _NO_MOLD


def _unusable(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return like.new_full(shape, torch.nan)
