"""LoRA: low-rank adapters for linear layers and convolutions, added to a model and merged again."""

import functools
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tltool.surgery.module_replacement import Place, check_patterns, matches, shortened, walk

log = logging.getLogger(__name__)

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LowRankUpdate:
    """What a layer with an adapter does besides: its ``weight`` is the frozen one plus the update.

    The weight is a property and the frozen one stays where it was, so keys of the state dict do not
    change, and every way to use the weight is right: timm's convolutions with padding ``same`` or
    standardized weights, attention that passes it to a function, groups.
    """

    plain_class: type[nn.Module]
    lora_alpha: float
    lora_a: Tensor
    lora_b: Tensor
    _parameters: dict[str, nn.Parameter]

    @property
    def weight(self) -> Tensor:
        """The weight that the layer computes with."""
        frozen = self._parameters["weight"]
        update = (self.lora_b @ self.lora_a).view(frozen.shape)
        return frozen + self.lora_alpha / len(self.lora_a) * update

    def extra_repr(self) -> str:
        """Return what ``repr`` shows: alpha decides the output and is in no tensor."""
        plain = self.plain_class.extra_repr(self)  # type: ignore[arg-type]  # it is one of these
        return f"{plain}, lora_rank={len(self.lora_a)}, lora_alpha={self.lora_alpha:g}"


@dataclass(frozen=True)
class AddedLoRA:
    """Which layers have got an adapter, and which have not.

    Together, ``adapted`` and ``kept`` hold every dotted name of a linear layer or convolution, of
    which a shared one has several; the numbers count it once.
    """

    rank: int
    alpha: float
    adapted: tuple[str, ...]
    #: The reason why each other layer stays, by dotted name.
    kept: Mapping[str, str]
    num_adapted: int
    num_layers: int
    #: Number of parameters that were added.
    num_parameters: int

    #: Modules that give other outputs, and what is wrong with these: a new adapter changes nothing.
    changed: ClassVar[tuple[str, ...]] = ()
    damage: ClassVar[str | None] = None

    def __str__(self) -> str:
        kept = [f"{count} {why}" for why, count in Counter(self.kept.values()).items()]
        return (
            f"Added LoRA of rank {self.rank} (alpha {self.alpha:g}, {self.num_parameters:,} "
            f"parameters) to {self.num_adapted} of {self.num_layers} linear layers and "
            f"convolutions{'; kept ' if kept else ''}{', '.join(kept)}."
        )


def add_lora(
    model: nn.Module, rank: int, *, alpha: float = 16.0, only: str | Sequence[str] = "*"
) -> AddedLoRA:
    """Add low-rank adapters to linear layers and convolutions, in place.

    A layer then computes with ``weight + alpha / rank * lora_b @ lora_a`` (Hu et al., 2021,
    https://arxiv.org/abs/2106.09685). ``lora_b`` begins as zero, so the model gives the same
    outputs, to the last bit, until it trains. Keys and values of the state dict stay, and the new
    ones, ``lora_a`` and ``lora_b``, stand beside ``weight``. To train them alone is up to a
    phase with ``parameters: adapters``.

    The weight of a convolution is taken as a matrix ``(out_chans, in_chans / groups * kH * kW)``,
    whatever its groups are. A layer keeps its weight where the full rank of that matrix is less
    than twice ``rank``, as that of a depthwise 3 x 3 convolution, 9, at rank 8: an adapter would
    hardly be smaller. So does one whose weight another module holds too, or that is parametrized.

    Args:
        model: Is changed.
        rank: Of the update, at least 1.
        alpha: The update is multiplied by ``alpha / rank``.
        only: One or more patterns of dotted names, as in ``fnmatch``: ``*.attn.*``. A shared layer
            is chosen by any of its names.

    Returns:
        What has an adapter now, and what has none.

    Raises:
        ValueError: If no layer gets one, a chosen layer has one already, a pattern matches no
            linear layer or convolution, or a number is out of its range.
        TypeError: If a pattern is no text.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3, groups=64))
        >>> print(add_lora(model, 4, only=["0", "2"]))
        Added LoRA of rank 4 (alpha 16, 656 parameters) to 2 of 2 linear layers and convolutions.
        >>> [name for name, _ in model.named_parameters()][:4]
        ['0.weight', '0.bias', '0.lora_a', '0.lora_b']
    """
    _check_numbers(rank, alpha)
    places = adaptable_layers(model)
    patterns = check_patterns(only, [p.names for p in places], "linear layer or convolution")
    holders = Counter(id(p) for module in model.modules() for p in module._parameters.values())
    fates = {place: _why_kept(place, rank, patterns, holders) for place in places}
    chosen = [place for place, why in fates.items() if why is None]
    if not chosen:
        reasons = Counter(why for why in fates.values() if why)
        raise ValueError(
            f"No layer of {type(model).__name__} can have an adapter of rank {rank}: "
            f"{', '.join(f'{count} {why}' for why, count in reasons.items())}. Lower `rank`, or "
            "choose other layers by `only`."
        )
    adapted = [place.names[0] for place in chosen if isinstance(place.module, LowRankUpdate)]
    if adapted:
        raise ValueError(
            f"{shortened(adapted, 3)} has an adapter already. Add adapters once, or merge the "
            "first ones by `merge_lora`."
        )
    report = AddedLoRA(
        rank=rank,
        alpha=alpha,
        adapted=tuple(name for place in chosen for name in place.names),
        kept={name: why for place, why in fates.items() if why for name in place.names},
        num_adapted=len(chosen),
        num_layers=len(places),
        num_parameters=sum(_adapt_(place.module, rank, alpha) for place in chosen),
    )
    log.info("%s", report)
    return report


@torch.no_grad()
def merge_lora(model: nn.Module) -> tuple[str, ...]:
    """Add the updates of all adapters to the weights and remove the adapters, in place.

    The model gives the same outputs afterwards and is again what it was before `add_lora`, but for
    its weights.

    Returns:
        The dotted names of the layers.

    Raises:
        ValueError: If no layer has an adapter.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8))
        >>> _ = add_lora(model, 2)
        >>> merge_lora(model), type(model[0]).__name__
        (('0',), 'Linear')
    """
    places = [place for place in walk(model) if isinstance(place.module, LowRankUpdate)]
    if not places:
        raise ValueError(
            f"{type(model).__name__} has no adapters to merge. Add them by `add_lora`."
        )
    for place in places:
        layer: Any = place.module
        layer._parameters["weight"].copy_(layer.weight)
        for name in ("lora_a", "lora_b", "lora_alpha"):
            delattr(layer, name)
        layer.__class__ = layer.plain_class
    return tuple(name for place in places for name in place.names)


def has_lora(model: nn.Module) -> bool:
    """Tell whether a layer of a model has an adapter of `add_lora`."""
    return any(isinstance(module, LowRankUpdate) for module in model.modules())


def check_adapters(names: Sequence[str], edit: str) -> None:
    """Refuse an edit of layers that have an adapter, which would be another one without it.

    Merged adapters leave the list of edits, and the others must then make the same model.

    Args:
        names: Dotted names of the layers or of the norms behind them.
        edit: Its name.

    Raises:
        ValueError: If there are such names.
    """
    if names:
        raise ValueError(
            f"{shortened(names, 3)} cannot be edited by `{edit}`: an adapter belongs to the weight "
            f"and to what is around it as they were. Put `{edit}` in front of `add_lora`."
        )


def adaptable_layers(model: nn.Module) -> list[Place]:
    """Return the linear layers and convolutions of a model, in the order of definition."""
    return [place for place in walk(model) if isinstance(place.module, LAYERS)]


def _check_numbers(rank: int, alpha: float) -> None:
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ValueError(
            f"`rank` must be a whole number of at least 1, got {rank!r}. Usual: 4 to 16."
        )
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"`alpha` must be positive, got {alpha!r}. Usual: once or twice the rank.")


def _why_kept(
    place: Place, rank: int, patterns: Sequence[str], holders: Mapping[int, int]
) -> str | None:
    """Return why a layer gets no adapter, if so."""
    weight = place.module._parameters.get("weight")
    if not matches(place.names, patterns):
        return "not selected"
    if weight is None:
        return "parametrized"
    if holders[id(weight)] > 1:
        return "with a weight that another module holds too"
    full_rank = min(len(weight), weight[0].numel())
    return f"of a full rank below {2 * rank}" if full_rank < 2 * rank else None


def _adapt_(layer: nn.Module, rank: int, alpha: float) -> int:
    """Give a layer an adapter and return the number of its parameters."""
    weight: Any = layer.weight
    lora_a = weight.new_empty(rank, weight[0].numel())  # (rank, in_chans / groups * kH * kW)
    nn.init.kaiming_uniform_(lora_a, a=math.sqrt(5))  # As the authors do, and torch in a layer.
    lora_b = weight.new_zeros(len(weight), rank)  # (out_chans, rank)
    layer.lora_a, layer.lora_b = nn.Parameter(lora_a), nn.Parameter(lora_b)
    layer.lora_alpha = float(alpha)  # type: ignore[assignment]  # no tensor
    layer.__class__ = _adapted_class(type(layer))  # type: ignore[arg-type]  # classes are hashable
    return layer.lora_a.numel() + layer.lora_b.numel()


@functools.cache
def _adapted_class(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"LoRA{cls.__name__}", (LowRankUpdate, cls), {"plain_class": cls})
