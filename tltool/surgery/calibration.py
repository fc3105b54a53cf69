"""Calibration: the values of edited modules from images, layer by layer from the input on."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.channel_moments import ChannelMoments, channel_moments, merge_moments

__all__ = ["Calibrated", "calibrate_", "computing_old", "needs_calibration"]

T = TypeVar("T", bound=nn.Module)

MOST_PASSES = 30
"""Passes in which modules that run several times must have settled."""
_SETTLED = 1e-6


def needs_calibration(model: nn.Module) -> bool:
    """Tell whether a module of a model has yet to take its values from images."""
    return bool(_uncalibrated(model))


@torch.no_grad()
def calibrate_(model: T, images: Tensor, *, forward: Callable[[Tensor], object] | None = None) -> T:
    """Set the values of all modules that take them from images, in place.

    In a first pass the old modules compute, and the mean and deviation of each channel that they
    put out is noted. In a second one, from the input on, each module sets its values when its input
    arrives, and passes on what it computes with them: everything in front of it is calibrated by
    then. Modules that run several times in a pass are set from all their calls together, in as many
    passes as it takes until they no longer change. All is done in evaluation mode, without
    gradients.

    Args:
        model: Is changed. One without such modules is left as it is.
        images: All calibration images ``(B, C, H, W)`` in one batch, drawn at random from those to
            train on: in a folder's order, the first ones are of one class.
        forward: What passes the images; ``None`` for the model itself.

    Returns:
        ``model``.

    Raises:
        ValueError: If there are fewer than 2 images, a module does not run or gets values that are
            not finite, or modules that run several times do not settle.

    Example:
        >>> from tltool.surgery.activation_swap import swap_activations
        >>> model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(8, 3, 8, 8)
        >>> means = model(images).mean(dim=(0, 2, 3))
        >>> _ = swap_activations(model, "gelu", match="moments", example=images[:1])
        >>> torch.allclose(calibrate_(model, images)(images).mean(dim=(0, 2, 3)), means, atol=1e-4)
        True
    """
    names = _uncalibrated(model)
    if not names:
        return model
    if len(images) < 2:
        raise ValueError(f"Calibration needs at least 2 images, got {len(images)}; 128 are usual.")
    forward = forward or model
    calls: dict[Calibrated, list[ChannelMoments]] = {module: [] for module in names}

    def run(compute: Callable[[Calibrated, Tensor], Tensor]) -> None:
        for moments in calls.values():
            moments.clear()
        with evaluation_mode(model), _computing(names, compute):
            forward(images)

    def compute_old(module: Calibrated, inputs: Tensor) -> Tensor:
        outputs = module.forward_old(inputs)
        calls[module].append(_finite_moments(outputs, module, names[module]))
        return outputs

    def compute_new(module: Calibrated, inputs: Tensor) -> Tensor:
        raw = module.raw(inputs)
        calls[module].append(_finite_moments(raw, module, names[module]))
        if len(calls[module]) == num_calls[module]:
            module.set_values_(merge_moments(calls[module]), old[module])
        return module.forward_calibrated(inputs)

    run(compute_old)
    old = {module: _merged(moments, names[module]) for module, moments in calls.items()}
    num_calls = {module: len(moments) for module, moments in calls.items()}
    run(compute_new)
    repeated = [module for module, num in num_calls.items() if num > 1]
    _settle(repeated, calls, names, lambda: run(compute_new))
    for module in names:
        module.finish_()
    return model


@contextmanager
def computing_old(model: nn.Module) -> Iterator[None]:
    """Let modules without values compute what the ones did whose place they take.

    For a pass whose shapes alone matter, as that of the next edit.
    """
    with _computing(_uncalibrated(model), _compute_old):
        yield


@contextmanager
def _computing(
    modules: Collection[Calibrated], compute: Callable[[Calibrated, Tensor], Tensor]
) -> Iterator[None]:
    for module in modules:
        module._during = compute
    try:
        yield
    finally:
        for module in modules:
            module._during = None


def _compute_old(module: Calibrated, inputs: Tensor) -> Tensor:
    return module.forward_old(inputs)


def _settle(
    repeated: list[Calibrated],
    calls: dict[Calibrated, list[ChannelMoments]],
    names: dict[Calibrated, str],
    run: Callable[[], None],
) -> None:
    """Pass the images again until modules that run several times no longer change."""
    moving = repeated
    for _ in range(MOST_PASSES if repeated else 0):
        before = {module: merge_moments(calls[module]) for module in repeated}
        run()
        moving = [m for m in repeated if not merge_moments(calls[m]).is_near(before[m], _SETTLED)]
        if not moving:
            return
    if moving:
        raise ValueError(
            f"{names[moving[0]]} runs several times in one pass, and its values do not settle. "
            "Leave it out by `only`."
        )


def _uncalibrated(model: nn.Module) -> dict[Calibrated, str]:
    return {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, Calibrated) and not module.is_calibrated
    }


def _finite_moments(outputs: Tensor, module: Calibrated, name: str) -> ChannelMoments:
    moments = channel_moments(outputs, module.channels.dim)
    if not (moments.mean.isfinite().all() and moments.std.isfinite().all()):
        raise ValueError(
            f"{name} gives values that are NaN or infinite on the calibration images. Check the "
            "weights and the preprocessing: tltool doctor."
        )
    return moments


def _merged(moments: list[ChannelMoments], name: str) -> ChannelMoments:
    if not moments:
        raise ValueError(
            f"{name} does not run, so it cannot be calibrated. Leave it out by `only`."
        )
    return merge_moments(moments)
