"""Which norms an edit takes, and what each of them is given."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tltool._lookup import lookup
from tltool._module_state import evaluation_mode
from tltool.surgery.calibration import computing_old
from tltool.surgery.channel_layout import Channels, find_channels
from tltool.surgery.module_replacement import (
    Place,
    check_patterns,
    matches,
    outermost,
    shortened,
    walk,
)
from tltool.surgery.norm_kinds import (
    ADDED,
    check_replaced,
    check_statistics,
    norm_kind,
    norms_inside_edits,
)

Forward = Callable[[Tensor], object]


class NormInput(NamedTuple):
    """What a norm is given."""

    channels: Channels
    #: Numbers of each channel in one image.
    num_places: int


def choose_norms(
    model: nn.Module,
    to: str,
    only: str | Sequence[str],
    old: str | None,
    *,
    example: Tensor | None,
    forward: Forward | None,
) -> dict[Place, NormInput | str]:
    """Return what each chosen norm is given, and the reason why each other one stays.

    Args:
        model: Is run once on ``example``.
        to: The kind that the edit makes of a norm; norms of this kind stay.
        only: One or more patterns of dotted names of norms.
        old: The kind that is chosen; ``None`` for every kind.
        example: See `replace_norms`.
        forward: See `replace_norms`.

    Raises:
        ValueError: If no norm is left to edit, a pattern or kind matches none, ``example`` is
            missing, or it is not known where the channels of a norm are.
    """
    kinds = {place: norm_kind(place.module) for place in walk(model)}
    places = outermost(place for place, kind in kinds.items() if kind)
    check_replaced(model, places, only)
    if not places:
        raise ValueError(f"{type(model).__name__} has no norm below it that is known.")
    if old is not None:
        lookup({str(kinds[place]): place for place in places}, old, kind="norm of this model")
    patterns = check_patterns(only, [place.names for place in places], kind="norm")
    added = norms_inside_edits(model)
    norms = [place.module for place in places if place.module not in added]
    inputs = _find_inputs(model, norms, example, forward)
    fates: dict[Place, NormInput | str] = {}
    for place in places:
        if old not in {None, kinds[place]} or not matches(place.names, patterns):
            fates[place] = "not selected"
        elif kinds[place] == to:
            fates[place] = f"already {to}"
        elif place.module in added:
            fates[place] = ADDED
        else:
            fates[place] = inputs.get(place.module, "not run")
    check_statistics(place for place, fate in fates.items() if isinstance(fate, NormInput))
    if all(isinstance(fate, str) for fate in fates.values()):
        reasons = Counter(fates.values())
        raise ValueError(
            f"Of the norms of {type(model).__name__} none is left to edit: "
            f"{', '.join(f'{count} {why}' for why, count in reasons.items())}."
        )
    return fates


def check_sizes(
    fates: Mapping[Place, NormInput | str], sizes: Callable[[NormInput], int], to: str
) -> None:
    """Refuse norms that would normalize one number, which they make 0."""
    single = [p.names[0] for p, g in fates.items() if isinstance(g, NormInput) and sizes(g) < 2]
    if single:
        raise ValueError(
            f"{shortened(single, 3)}: a {to} norm would see one number at a time, and make it 0. "
            "Leave them out by `only`, or set fewer groups by `num_groups`."
        )


def _find_inputs(
    model: nn.Module, norms: Sequence[nn.Module], example: Tensor | None, forward: Forward | None
) -> dict[nn.Module, NormInput]:
    """Return what each norm that runs is given."""
    if example is None:
        raise ValueError(
            "This edit runs the network to see what its norms are given. Pass `example`, an image "
            "of the size that the model takes: example=torch.zeros(1, 3, 224, 224)."
        )
    num_values: dict[nn.Module, int] = {}  # in one image

    def note(norm: nn.Module, inputs: Sequence[Any]) -> None:
        num_values[norm] = min(num_values.get(norm, sys.maxsize), inputs[0][0].numel())

    with ExitStack() as stack, computing_old(model):
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(note).remove)
        with evaluation_mode(model), torch.no_grad():
            (forward or model)(example)
        channels = find_channels(model, list(num_values), example, forward)
    for norm, reason in channels.unknown.items():
        name = next(name for name, module in model.named_modules() if module is norm)
        raise ValueError(f"The channels of {name} are not known: {reason}. Leave it out by `only`.")
    return {norm: NormInput(c, num_values[norm] // c.num) for norm, c in channels.known.items()}
