"""Health alarms: thresholds on layer statistics, each with its cause and a suggested fix."""

import functools
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from tltool.diagnostics.health.health_watch import LayerHealth, NormHealth
from tltool.layers.activations import ACTIVATIONS

#: Share of dead units. Random relu layers have few; a few dozen in a hundred do no measurable harm
#: (`scripts/benchmark/health.py`).
DEAD = 0.5
#: Rows that an estimate of dead units needs: on fewer, rare units only seem dead.
ENOUGH_ROWS = 500
#: Share of saturated pairs of row and unit, for activations that saturate on both sides (Glorot &
#: Bengio, 2010, section 3, found layers stuck near there,
#: https://proceedings.mlr.press/v9/glorot10a).
SATURATED = 0.5
#: Standard deviation of a layer's outputs relative to what a layer before it has, or by itself.
COLLAPSED = 1e-6
#: Gradient of the first layer of the head relative to that of the last.
VANISHING = 1e-3
EXPLODING = 1e3
#: Norm of the largest update of a window as a share of the norm of the weights. About 1e-3 is the
#: rule (CS231n, Neural Networks Part 3, "Ratio of weights:updates").
FAST = 0.05
#: The same of a head's output layer. Its first weights are small, those of a closed-form probe too,
#: and Adam's first step is the learning rate in each of them: a default LPFT is beyond `FAST` then
#: (9a9acf4). A step as long as the weights leaves nothing of that start.
FAST_OUTPUT, OUTPUT = 1.0, "head.output"
#: Share of the gradient along the mean input, and cosine of successive updates: both, since one
#: sign of all inputs alone is true behind every relu.
ZIGZAG_ENERGY, ZIGZAG_COSINE = 0.5, -0.3
#: Steps in which running statistics come near those of the batches, with the usual momentum.
SETTLED_AFTER = 100


@dataclass(frozen=True)
class Alarm:
    """Something wrong in a network while it trains.

    Attributes:
        cause: One word for it; a cause is reported once in a run.
        layer: Where.
        message: What was seen, and what to do about it, in a sentence.
    """

    cause: str
    layer: str
    message: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.message}"


def find_alarms(layers: Sequence[LayerHealth], norms: Sequence[NormHealth] = ()) -> list[Alarm]:
    """Return the alarms of one window, the worst layer of each cause.

    Args:
        layers: The layers, from the input.
        norms: The batch norms, where they should have settled: after `SETTLED_AFTER` steps, or at
            the end of training.

    Example:
        >>> find_alarms([LayerHealth("head.hidden.0", activation="relu", dead_in_epoch=0.9)])[0]
        Alarm(cause='dead units', layer='head.hidden.0', message='90% of its relu units are ...')
    """
    rules = (_shares, _broken, _gradients, _zigzag)
    found = [*(alarm for rule in rules for alarm in rule(layers)), *_lag(norms)]
    return list({alarm.cause: alarm for alarm in reversed(found)}.values())[::-1]


def _alarm(cause: str, layer: str, **words: object) -> Alarm:
    return Alarm(cause, layer, messages()[cause].format(**words))


@functools.cache
def messages() -> dict[str, str]:
    """Return what the alarm of each cause says, with braces for what was seen."""
    return tomllib.loads((resources.files(__package__) / "alarm_messages.toml").read_text("utf-8"))


def _dead_share(layer: LayerHealth) -> float | None:
    if layer.is_two_sided:  # Those of its units are saturated.
        return None
    is_known = layer.units is not None and layer.units.num_rows >= ENOUGH_ROWS
    return layer.dead if is_known else layer.dead_in_epoch


def _saturated_share(layer: LayerHealth) -> float | None:
    return layer.units.saturated if layer.units and layer.is_two_sided else None


def _large_update(layer: LayerHealth) -> float | None:
    update = layer.largest_update
    if layer.is_short:  # Any step is long beside weights that begin at zero.
        return None
    if layer.layer == OUTPUT and update is not None and update < FAST_OUTPUT:
        return None
    return update


#: What is too large from where on, by cause.
SHARES: Mapping[str, tuple[Callable[[LayerHealth], float | None], float]] = {
    "dead units": (_dead_share, DEAD),
    "saturation": (_saturated_share, SATURATED),
    "large updates": (_large_update, FAST),
}


def _shares(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    """Yield the alarms of shares that are too large, each of the layer with the largest."""
    for cause, (share_of, least) in SHARES.items():
        shares = [(share_of(layer) or 0.0, layer) for layer in layers]
        share, layer = max(shares, key=lambda pair: pair[0], default=(0.0, None))
        if layer is not None and share >= least:
            where = "on every training image of the last epoch"
            if layer.dead_in_epoch is None and layer.units is not None:
                where = f"on all {layer.units.num_rows:,} rows seen"
            kind = layer.activation
            more = f" (tltool activations {kind})" if kind in ACTIVATIONS else ""
            words = {"share": share, "activation": kind, "where": where, "more": more}
            yield _alarm(cause, layer.layer, **words)


def _broken(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in layers:
        units = layer.units
        if units is None or units.num_rows < 2:
            continue
        if not math.isfinite(units.std):
            yield _alarm("not finite", layer.layer, what="its outputs are")
        elif units.std <= COLLAPSED or units.effective_rank == 0:
            yield _alarm("collapsed", layer.layer)


def _gradients(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    norms = [(layer.layer, layer.gradient) for layer in layers if layer.gradient is not None]
    is_short = any(layer.is_short for layer in layers[-1:])  # It passes little gradient as yet.
    broken = [name for name, norm in norms if not math.isfinite(norm)]
    if broken:
        yield _alarm("not finite", broken[0], what="the gradient of its weights is")
    elif len(norms) > 1 and norms[-1][1] and not is_short:
        (first, norm), (last, last_norm) = norms[0], norms[-1]
        ratio = norm / last_norm
        if not VANISHING <= ratio <= EXPLODING:
            verb = "vanishing" if ratio < 1 else "exploding"
            yield _alarm(f"{verb} gradient", first, ratio=ratio, last=last)


def _zigzag(layers: Sequence[LayerHealth]) -> Iterator[Alarm]:
    for layer in layers:
        share, turn = layer.gradient_along_mean or 0.0, layer.update_cosine or 0.0
        if share >= ZIGZAG_ENERGY and turn <= ZIGZAG_COSINE:
            yield _alarm("zig-zag", layer.layer, cosine=turn, share=share)


def _lag(norms: Sequence[NormHealth]) -> Iterator[Alarm]:
    worst = max(norms, key=lambda norm: norm.size, default=None)
    if worst is not None and worst.size >= 1:
        yield _alarm("batch norm lags", **vars(worst))
