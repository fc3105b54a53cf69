"""Swap the activations of a model for another one."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from tltool._lookup import lookup
from tltool._spec import Spec, parse_spec
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.surgery.activation_inventory import find_activations, summarize
from tltool.surgery.activation_kinds import FoundActivation, canonical, same_function
from tltool.surgery.calibration import computing_old
from tltool.surgery.channel_layout import Channels, find_channels
from tltool.surgery.matched_activation import MatchedActivation
from tltool.surgery.module_replacement import (
    Place,
    check_patterns,
    matches,
    replace_modules,
    shortened,
)

log = logging.getLogger(__name__)

#: Kinds of activations, and others that begin as the same function.
EXACT = {("relu", "prelu"), ("leaky_relu", "prelu")}


@dataclass(frozen=True)
class ActivationSwap:
    """What a swap of activations changed, and what it left as it was.

    Together, ``swapped`` and ``kept`` hold every dotted name, of which a shared activation has
    several; the numbers count it once. A function call goes by its method: ``forward.relu``.
    """

    to: str
    #: The former kind of each activation that changed, by dotted name.
    swapped: Mapping[str, str]
    #: The reason why each other activation stays, by dotted name.
    kept: Mapping[str, str]
    num_swapped: int
    num_activations: int
    #: How many stay, by reason: ``gate``, ``out of reach``, ``not selected``, ``already gelu``.
    num_kept: Mapping[str, int]
    #: How the outputs are brought to the old ones, see `swap_activations`.
    match: str | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """Dotted names of the modules that give other outputs now."""
        return tuple(name for name, kind in self.swapped.items() if (kind, self.to) not in EXACT)

    @property
    def damage(self) -> str | None:
        """What is wrong with the features until the layers train; ``None`` if they are matched."""
        return None if self.match else "unmatched"

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """Dotted names of the activations that were selected and could not be changed."""
        return tuple(name for name, why in self.kept.items() if why.startswith("out of reach"))

    def __str__(self) -> str:
        kinds = f" ({', '.join(sorted(set(self.swapped.values())))})" if self.swapped else ""
        kept = [
            f"{count} gates" if reason == "gate" and count > 1 else f"{count} {reason}"
            for reason, count in self.num_kept.items()
        ]
        where = f" ({shortened(self.out_of_reach, 3)})" if self.out_of_reach else ""
        return (
            f"Swapped {self.num_swapped} of {self.num_activations} activations{kinds} for "
            f"{self.to}{'; kept ' if kept else ''}{', '.join(kept)}{where}."
        )


def swap_activations(
    model: nn.Module,
    to: Spec,
    *,
    only: str | Sequence[str] = "*",
    old: str | None = None,
    match: Literal["moments"] | None = None,
    example: Tensor | None = None,
    forward: Callable[[Tensor], object] | None = None,
) -> ActivationSwap:
    """Replace the activations of a model in place.

    All else stays: weights, running statistics, the keys of the state dict. Norm layers that hold
    an activation, such as timm's ``BatchNormAct2d``, only change that. Gates stay too: the sigmoid
    of a squeeze-excite, a softmax, the kernel of a linear attention; and so does an activation that
    is ``to`` already. What is called as a function is out of reach: the report and the log name it.

    Args:
        model: Is changed. Its weights were trained with the old activations: swap first, then
            fine-tune, and compare with the model as it was.
        to: The new activation, as for ``create_activation``. One that learns, such as prelu, brings
            its own parameter for each activation that it replaces.
        only: One or more patterns of dotted names, as in ``fnmatch``: ``blocks.*``.
        old: The kind to replace, such as ``relu``; ``None`` for every kind.
        match: ``moments`` puts an affine map of each channel behind the new activation, by which it
            has the mean and deviation of the old one on calibration images, see `calibrate_`. Until
            these have come, ``forward`` raises. ``None`` for the new activation alone.
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
    found = find_activations(model)
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

    new = create_activation(to)
    fates: list[tuple[FoundActivation, str | None]] = []  # with the reason of each that stays
    for each in found:
        is_selected = kind in {None, each.kind} and matches(each.names, patterns)
        fates.append((each, _why_kept(each, new, name) if is_selected else "not selected"))
    chosen = [each for each, why in fates if why is None]
    if not chosen and f"already {name}" not in {why for _, why in fates}:
        selected = [each for each, why in fates if why != "not selected"]
        reason = "no activation fits both `only` and `old`"
        if selected:
            reason = f"all that is selected stays as it is: {summarize(selected)}"
        rest = f" {type(model).__name__} has: {summarize(found)}." if selected != found else ""
        raise ValueError(f"Cannot swap activations for {name}: {reason}.{rest}")

    channels = {}
    if match is not None:
        with computing_old(model):
            modules = [each.module for each in chosen if each.module is not None]
            channels = find_channels(model, modules, example, forward)
    _replace(model, chosen, to, channels)
    report = ActivationSwap(
        to=name,
        swapped={dotted: each.kind for each in chosen for dotted in each.names},
        kept={dotted: why for each, why in fates if why for dotted in each.names},
        num_swapped=len(chosen),
        num_activations=len(found),
        num_kept=Counter(why.partition(":")[0] for _, why in fates if why),
        match=match,
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


def _why_kept(activation: FoundActivation, new: nn.Module, name: str) -> str | None:
    if activation.why_kept or activation.module is None:
        return activation.why_kept
    return f"already {name}" if same_function(activation.module, new) else None


def _replace(
    model: nn.Module,
    chosen: Sequence[FoundActivation],
    to: Spec,
    channels: Mapping[nn.Module, Channels],
) -> None:
    modules = {each.module for each in chosen}

    def create(place: Place) -> nn.Module:
        for owner, _ in place.owners:
            if isinstance(owner, nn.TransformerEncoderLayer):
                # Its fused evaluation computes what this number says, whatever the module is.
                owner.activation_relu_or_gelu = 0
        new = create_activation(to)
        if place.module not in channels:
            return new
        return MatchedActivation(new, place.module, channels[place.module])

    if modules:
        replace_modules(model, lambda place: place.module in modules, create)
