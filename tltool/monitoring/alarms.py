"""When a number is a sign of illness, and what to do about it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tltool.monitoring.watch import LayerHealth, NormHealth

DEAD = 0.5
"""Share of dead units. Random relu layers have few; a few dozen in a hundred do no measurable harm
(`scripts/benchmark/health.py`)."""
ENOUGH_ROWS = 500
"""Rows that an estimate of dead units needs: on fewer, rare units only seem dead."""
SATURATED = 0.5
"""Share of saturated pairs of row and unit, for activations that saturate on both sides (Glorot &
Bengio, 2010, section 3, found layers stuck near there, https://proceedings.mlr.press/v9/glorot10a)."""
COLLAPSED = 1e-6
"""Standard deviation of a layer's outputs relative to what a layer before it has, or by itself."""
VANISHING = 1e-3
"""Gradient of the first layer of the head relative to that of the last."""
EXPLODING = 1e3
FAST = 0.05
"""Norm of the largest update of a window as a share of the norm of the weights. About 1e-3 is the
rule (CS231n, Neural Networks Part 3, "Ratio of weights:updates"); a new head begins with more."""
ZIGZAG_ENERGY, ZIGZAG_COSINE = 0.5, -0.3
"""Share of the gradient along the mean input, and cosine of successive updates: both, since one
sign of all inputs alone is true behind every relu."""
LAG_SHIFT, LAG_FACTOR = 1.0, 3.0
"""Distance of running from batch statistics in standard deviations, and factor between these."""
SETTLED_AFTER = 100
"""Steps in which running statistics come near those of the batches, with the usual momentum."""


@dataclass(frozen=True)
class Alarm:
    """A sign of illness.

    Attributes:
        cause: One word for it; a cause is told once in a run.
        layer: Where.
        message: What was seen, and what to do about it, in a sentence.
    """

    cause: str
    layer: str
    message: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.message}"


def find_alarms(layers: Sequence[LayerHealth], norms: Sequence[NormHealth] = ()) -> list[Alarm]:
    """Return what is ill in one window, the worst layer of each cause.

    Args:
        layers: The layers, from the input.
        norms: The batch norms, where they should have settled: after `SETTLED_AFTER` steps, or at
            the end of training.

    Example:
        >>> find_alarms([LayerHealth("head.hidden.0", activation="relu", dead_in_epoch=0.9)])[0]
        Alarm(cause='dead units', layer='head.hidden.0', message='90% of its relu units are ...')
    """
    found = [
        *_dead(layers),
        *_saturated(layers),
        *_collapsed(layers),
        *_gradients(layers),
        *_fast(layers),
        *_zigzag(layers),
        *_lag(norms),
    ]
    return list({alarm.cause: alarm for alarm in reversed(found)}.values())[::-1]


def _dead(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in _worst_first(layers, _dead_share):
        share = _dead_share(layer)
        if share is None or share < DEAD:
            return
        if layer.is_two_sided:  # Told as saturation.
            continue
        where = (
            "on every training image of the last epoch"
            if layer.dead_in_epoch is not None
            else f"on all {layer.units.num_rows if layer.units else 0:,} rows seen"
        )
        yield Alarm(
            "dead units",
            layer.layer,
            f"{share:.0%} of its {layer.activation} units are dead, {where}. Lower the learning "
            "rate, use leaky_relu, or initialize with kaiming_normal and a bias of 0.01 (tltool "
            f"activations {layer.activation}).",
        )


def _saturated(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in _worst_first(layers, lambda each: each.units and each.units.saturated):
        if layer.units is None or not layer.is_two_sided or layer.units.saturated < SATURATED:
            continue
        yield Alarm(
            "saturation",
            layer.layer,
            f"its {layer.activation} units are saturated on {layer.units.saturated:.0%} of the "
            "rows and pass next to no gradient. Use smaller weights (xavier_normal), standardize "
            "the inputs (input_norm: standardize), a norm in front, or relu (tltool activations "
            f"{layer.activation}).",
        )


def _collapsed(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in layers:
        units = layer.units
        if units is None or units.num_rows < 2:
            continue
        if not math.isfinite(units.std):
            yield Alarm(
                "not finite",
                layer.layer,
                "its outputs are not finite. Lower the learning rate, or train in bf16 instead of "
                "fp16.",
            )
        elif units.std <= COLLAPSED or units.effective_rank == 0:
            yield Alarm(
                "collapsed",
                layer.layer,
                "all rows give the same outputs, so the layers behind it learn nothing from the "
                "images. Initialize its weights at random (initializer: auto), and lower the "
                "learning rate if they were.",
            )


def _gradients(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    norms = [(layer.layer, layer.gradient) for layer in layers if layer.gradient is not None]
    broken = [name for name, norm in norms if not math.isfinite(norm)]
    if broken:
        yield Alarm(
            "not finite",
            broken[0],
            "the gradient of its weights is not finite. Lower the learning rate, or set "
            "--trainer.gradient_clip_val 1.",
        )
        return
    if len(norms) < 2 or not norms[-1][1]:
        return
    (first, norm), (last, last_norm) = norms[0], norms[-1]
    ratio = norm / last_norm
    if ratio < VANISHING:
        yield Alarm(
            "vanishing gradient",
            first,
            f"its gradient is {ratio:.0e} of that of {last}. Use relu or another activation that "
            "does not saturate, batch norm, fewer layers, or the initializer that suits the "
            "activation (initializer: auto).",
        )
    elif ratio > EXPLODING:
        yield Alarm(
            "exploding gradient",
            first,
            f"its gradient is {ratio:.0e} times that of {last}. Use smaller weights (initializer: "
            "auto), a norm in front of the activations, or --trainer.gradient_clip_val 1.",
        )


def _fast(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in _worst_first(layers, lambda each: each.largest_update):
        if layer.largest_update is None or layer.largest_update < FAST:
            return
        yield Alarm(
            "large updates",
            layer.layer,
            f"one step changed its weights by {layer.largest_update:.0%} of their length; about "
            "0.1 % is usual. Lower the learning rate (tltool plan --lr_range), or warm up longer.",
        )


def _zigzag(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in layers:
        energy, turn = layer.mean_energy, layer.update_cosine
        if energy is None or turn is None or energy < ZIGZAG_ENERGY or turn > ZIGZAG_COSINE:
            continue
        yield Alarm(
            "zig-zag",
            layer.layer,
            f"its updates turn back at each step (cosine {turn:.2f}), and {energy:.0%} of its "
            "gradient lies along the mean of its inputs, which are not zero-centered. Use "
            "input_norm: standardize or a zero-centered activation, or lower the learning rate.",
        )


def _lag(norms: Sequence[NormHealth]) -> Iterator[Alarm]:
    for norm in sorted(norms, key=lambda each: -max(each.shift / LAG_SHIFT, each.factor)):
        if norm.shift < LAG_SHIFT and norm.factor < LAG_FACTOR:
            return
        yield Alarm(
            "batch norm lags",
            norm.layer,
            f"its running statistics are {norm.shift:.1f} standard deviations and a factor of "
            f"{norm.factor:.1f} from those of the batches, so evaluation differs from training. "
            "Raise its momentum (norm: {name: batch, momentum: 0.1}), train for longer, or use "
            "layer norm.",
        )


def _dead_share(layer: LayerHealth) -> float | None:
    rows = 0 if layer.units is None else layer.units.num_rows
    return None if layer.dead_in_epoch is None and rows < ENOUGH_ROWS else layer.dead


def _worst_first(
    layers: Sequence[LayerHealth], value: Callable[[LayerHealth], float | None]
) -> list[LayerHealth]:
    return sorted(layers, key=lambda layer: -(value(layer) or 0.0))
