"""Swap the activations of a model for another one."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn

from tltool._lookup import lookup
from tltool._spec import Spec, parse_spec
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.surgery.activation_gamma import follow_in_convolutions_, has_scaled_convolutions
from tltool.surgery.activation_inventory import find_activations, summarize
from tltool.surgery.activation_kinds import POSITION_BIAS, FoundActivation, same_function
from tltool.surgery.activation_replacement import (
    create_like,
    is_exact,
    plain_activation,
    replacement,
)
from tltool.surgery.activation_swap_report import ActivationSwap
from tltool.surgery.calibration import computing_old
from tltool.surgery.function_kinds import canonical
from tltool.surgery.matched_activation import MatchedActivation
from tltool.surgery.matched_calls import FoundCalls, find_calls
from tltool.surgery.module_replacement import check_patterns, matches, replace_modules

log = logging.getLogger(__name__)
Match = Literal["moments"]
MATCHES: dict[str, Match] = {"moments": "moments"}


def swap_activations(
    model: nn.Module,
    to: Spec,
    *,
    only: str | Sequence[str] = "*",
    old: str | None = None,
    match: Match | None = None,
    example: Tensor | None = None,
    forward: Callable[[Tensor], object] | None = None,
) -> ActivationSwap:
    """Replace the activations of a model in place.

    All else stays: weights, running statistics, the keys of the state dict. Norm layers that hold
    an activation, such as timm's ``BatchNormAct2d``, only change that. Gates stay too: the sigmoid
    of a squeeze-excite, a softmax, the kernel of a linear attention; and so do networks of relative
    positions, as Swin's, unless a pattern of ``only`` names nothing else; and an activation that is
    ``to`` already. What is called as a function is out of reach: the report and the log name it.

    On tf_efficientnet_lite0, ants and bees at 128 pixels, a probe of .908 fell to .817 with gelu
    and .765 with silu; matched to .889 and .869 (`scripts/benchmark/surgery_pays.py`), and with the
    last stage alone it did not fall (.928, .915).

    The gamma of a network without norms follows the new activation, in a ``GammaAct`` as in the
    convolutions behind it. A prelu begins at the negative slope of the relu or leaky relu that it
    replaces.

    Args:
        model: Is changed. Its weights were trained with the old activations: swap first, then
            fine-tune, and compare with the model as it was.
        to: The new activation, as for ``create_activation``. One that learns, such as prelu, brings
            its own parameter for each activation that it replaces.
        only: One or more patterns of dotted names, as in ``fnmatch``: ``blocks.*``.
        old: The kind to replace, such as ``relu``; ``None`` for every kind.
        match: ``moments`` puts an affine map of each channel behind the new activation, by which it
            has the mean and deviation of the old one on calibration images, see `calibrate_`. Until
            these have come, ``forward`` raises. One that runs several times in its block, on other
            channels at each call, has a map for each. ``None`` for the new activation alone.
        example: For ``match``: an image ``(1, C, H, W)`` of the size that the model takes, which
            tells how many channels there are. In a `Backbone` it is there already.
        forward: For ``match``: what passes it; ``None`` for the model itself.

    Returns:
        Which activations changed, which stay, and why.

    Raises:
        ValueError: If there is nothing to swap, or ``to`` is unknown or no activation for this use.
        TypeError: If ``to`` or ``only`` is of the wrong type.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())
        >>> print(swap_activations(model, "gelu", old="relu"))
        Swapped 1 of 2 activations (relu) for gelu; kept 1 not selected.
    """
    name = _check_target(to)
    if match is not None:
        lookup(MATCHES, match, kind="match")
    found = find_activations(model)
    fates = _fates(model, found, name, create_activation(to), only=only, old=old)
    _check_any(model, name, fates)
    with computing_old(model):
        calls: FoundCalls | None = None
        if match:
            modules = [each.module for each, why in fates if why is None and each.module]
            calls = find_calls(model, modules, example, forward)
            fates = _matchable(fates, calls.unknown)
        chosen = {e.module: e for e, why in fates if why is None and e.module is not None}
        if not match and chosen and has_scaled_convolutions(model):
            of_layers = {name for each in found if each.why_kept is None for name in each.names}
            follow_in_convolutions_(
                model, of_layers, chosen, partial(create_like, to), example=example, forward=forward
            )
    if chosen:
        replace_modules(
            model,
            lambda place: place.module in chosen,
            lambda place: replacement(place, to, calls),
        )
    report = ActivationSwap(
        to=name,
        match=match,
        swapped={dotted: each.kind for each in chosen.values() for dotted in each.names},
        kept={dotted: why for each, why in fates if why for dotted in each.names},
        num_swapped=len(chosen),
        num_activations=len(found),
        num_kept=Counter(why.partition(":")[0] for _, why in fates if why),
        exact=tuple(
            name
            for module, each in chosen.items()  # The map of a matched one goes.
            if is_exact(to, each.kind) and not isinstance(module, MatchedActivation)
            for name in each.names
        ),
    )
    log.log(logging.WARNING if report.out_of_reach else logging.INFO, "%s", report)
    return report


def _check_target(to: Spec) -> str:
    name, arguments = parse_spec(to, kind="to")
    entry = lookup(ACTIVATIONS, name, kind="activation")
    refusal = None
    if entry.is_layer:
        refusal = (
            "it takes the place of the linear layer in front too, and doubles its parameters, for "
            "which there are no pretrained weights. Choose it in a head, or another one here."
        )
    elif arguments.get("inplace"):
        refusal = "another branch may still need its input. Leave `inplace` out of `to`."
    elif arguments.get("per_channel"):
        refusal = "the number of channels is not known. Leave `per_channel` out: one slope each."
    if refusal:
        raise ValueError(f"{name} cannot replace the activations of a model like this: {refusal}")
    return entry.name


Fates = Sequence[tuple[FoundActivation, str | None]]
"""Activations, each with the reason why it stays; ``None`` if it does not."""


def _fates(
    model: nn.Module,
    found: Sequence[FoundActivation],
    name: str,
    new: nn.Module,
    *,
    only: str | Sequence[str],
    old: str | None,
) -> Fates:
    if not found:
        raise ValueError(
            f"Cannot swap activations for {name}: {type(model).__name__} has none below it that "
            "is known. An activation must be a module, such as nn.ReLU, inside of another one."
        )
    kinds = sorted({each.kind for each in found})
    kind = None if old is None else canonical(old)
    if kind is not None and kind not in kinds:
        raise ValueError(
            f"{type(model).__name__} has no {old!r} activation. Set `old` to one it has: "
            f"{', '.join(kinds)}."
        )
    patterns = check_patterns(only, [each.names for each in found], kind="activation")
    # Those that match position biases alone.
    naming = [
        pattern
        for pattern in patterns
        if all(e.why_kept == POSITION_BIAS for e in found if matches(e.names, [pattern]))
    ]
    fates: list[tuple[FoundActivation, str | None]] = []
    for each in found:
        is_named = each.why_kept == POSITION_BIAS and matches(each.names, naming)
        why = None if is_named else each.why_kept
        if why is None and each.module and same_function(plain_activation(each.module), new):
            why = f"already {name}"
        is_selected = kind in {None, each.kind} and matches(each.names, patterns)
        fates.append((each, why if is_selected else "not selected"))
    return fates


def _check_any(model: nn.Module, name: str, fates: Fates) -> None:
    """Raise where nothing would change that is meant to, and nothing is as it should be already."""
    chosen = [each for each, why in fates if why is None]
    selected = [each for each, why in fates if why != "not selected"]
    of_layers = [each for each in selected if each.why_kept != "gate" and not each.is_in_gate]
    reason = None
    if not selected:
        reason = "no activation fits both `only` and `old`"
    elif any(why == f"already {name}" for _, why in fates):
        return
    elif not chosen:
        reason = f"all that is selected stays as it is: {summarize(selected)}"
    elif of_layers and all(each.is_in_gate for each in chosen):
        reason = (
            f"it would reach only those inside gates, {summarize(chosen)}. Those of the layers "
            f"stay as they are: {summarize(of_layers)}. If gates are meant, name them by `only`"
        )
    if reason:
        found = [each for each, _ in fates]
        rest = f" {type(model).__name__} has: {summarize(found)}." if selected != found else ""
        raise ValueError(f"Cannot swap activations for {name}: {reason}.{rest}")


def _matchable(fates: Fates, unknown: Mapping[nn.Module, str]) -> Fates:
    """Let those stay whose channels are not known, and raise where that is all of them."""
    left: list[tuple[FoundActivation, str | None]] = []
    for each, why in fates:
        reason = unknown.get(each.module) if each.module else None
        left.append((each, why or (f"out of reach of `match`: {reason}" if reason else None)))
    matched = [each for each, why in left if why is None]
    if unknown and not matched:
        refused = next(each for each, _ in left if each.module in unknown)
        raise ValueError(
            f"No activation can be matched. The channels of {refused.names[0]} are not known: "
            f"{next(iter(unknown.values()))}. Leave `match` out, and let the layers train."
        )
    return left
