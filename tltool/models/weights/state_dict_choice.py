"""The state dict of a model in a file of any tool: below which keys, behind which prefix."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor

log = logging.getLogger(__name__)

StateDict = dict[str, Tensor]

OWN = "backbone.model."  # A backbone's keys begin so in tltool's own checkpoints.

# What stands between the names of layers where a part of a network was wrapped.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# What may stand in front of all names, where these are not the model's own.
_PREFIXES = {"model", "backbone", "encoder", "net", "network", "student", "teacher", "ema"}
# An exponential moving average of the weights, which timm prefers too.
_AVERAGE = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
CURRENT = "current_model_state"
"""Where Lightning's `WeightAveraging` keeps the weights that train, beside their average."""


class StoredWeights(NamedTuple):
    """One of the sets of weights that a file holds.

    Attributes:
        name: Keys and prefix that lead to it, such as ``state_dict.module``.
        tensors: Its tensors, by name without these.
        beside: Names of the tensors that have another prefix.
        fit: How many tensors of the model are in it by name and shape, and how many by name.
    """

    name: str
    tensors: StateDict
    beside: list[str]
    fit: tuple[int, int]


def choose_state_dict(
    content: object, source: str, like: Mapping[str, Tensor], key: str | None = None
) -> StateDict:
    """Return the weights that a file holds for a model.

    They may lie below any keys (``state_dict``, ``model``, ...) and behind any prefix
    (``module.``, ``_orig_mod.``, ``student.backbone.``, ...): those are taken behind which the
    model's own names stand. Of weights and their exponential moving average the average is taken,
    as timm does.

    Args:
        content: What was read.
        source: The file, for messages.
        like: The model's own state dict. Empty where its names are others than the file's: the
            largest set of tensors is taken then, without the usual prefixes.
        key: The beginning of the name of the one to take, where the file holds several.

    Raises:
        ValueError: If there is none, or several fit equally well.

    Example:
        >>> like = {"fc.bias": torch.zeros(2)}
        >>> content = {"epoch": 3, "state_dict": {"model.module.fc.bias": torch.ones(2)}}
        >>> choose_state_dict(content, "last.pth", like)
        {'fc.bias': tensor([1., 1.])}
    """
    found = list(_stored_weights(content, like)) or _largest(content)
    if key is not None:
        exact = [weights for weights in found if weights.name == key]
        below = [weights for weights in found if weights.name.startswith(f"{key}.")]
        if not exact and not below:
            raise ValueError(
                f"{source} holds no weights {key!r} for this model. `weights_key` may be: "
                f"{_names(found) or 'left out, for it holds none at all'}."
            )
        found = exact or below
    if not found:
        raise ValueError(
            f"{source} holds no state dict. Save `model.state_dict()`, best as .safetensors."
        )
    best = max(weights.fit for weights in found)
    chosen = _preferred([weights for weights in found if weights.fit == best], source)
    if len(found) > 1:
        log.info(
            "%s holds several sets of weights: %s. Taken: %s; set `weights_key` for another.",
            source,
            _names(found),
            repr(chosen.name),
        )
    if chosen.beside:
        log.info("Left what is beside the weights in %s: %s.", source, _listed(chosen.beside))
    return chosen.tensors


def _preferred(equal: Sequence[StoredWeights], source: str) -> StoredWeights:
    averages = [weights for weights in equal if _AVERAGE.search(weights.name)]
    plain = [weights for weights in equal if not weights.name.startswith(CURRENT)]
    for some in (averages, equal, plain):
        if some and all(_are_equal(some[0].tensors, other.tensors) for other in some):
            return some[0]
    raise ValueError(
        f"{source} holds several sets of weights that fit equally well: {_names(equal)}. Set "
        "`weights_key` to the one to take."
    )


def _are_equal(one: StateDict, other: StateDict) -> bool:
    return one is other or (
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    )


def _stored_weights(content: object, like: Mapping[str, Tensor]) -> Iterator[StoredWeights]:
    """Yield all that have at least half of the model's names."""
    inner = _WRAPPERS - {part for name in like for part in name.split(".")}
    for place, wrapped in _tensor_mappings(content):
        tensors = _without_wrappers(wrapped, inner)
        counts = Counter(prefix for name in tensors for prefix in _prefixes(name, like))
        prefixes = [prefix for prefix, count in counts.items() if 2 * count >= len(like)]
        for prefix in prefixes:
            longer = [other for other in prefixes if len(other) > len(prefix)]
            own = {name: value for name, value in tensors.items() if not _is_behind(name, longer)}
            yield _behind(prefix, place, own, like)


def _largest(content: object) -> list[StoredWeights]:
    """Return the sets with the most tensors, without the usual prefixes."""
    found = [
        (place, _without_wrappers(tensors, _WRAPPERS))
        for place, tensors in _tensor_mappings(content)
    ]
    size = max((len(tensors) for _, tensors in found), default=0)
    return [
        _behind(_common_prefix(tensors), place, tensors, {})
        for place, tensors in found
        if len(tensors) == size
    ]


def _is_behind(name: str, prefixes: Sequence[str]) -> bool:
    return any(name.startswith(f"{prefix}.") for prefix in prefixes)


def _behind(
    prefix: str, place: tuple[str, ...], tensors: StateDict, like: Mapping[str, Tensor]
) -> StoredWeights:
    start = f"{prefix}." if prefix else ""
    behind = {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }
    same = [name for name in like if name in behind]
    of_shape = sum(behind[name].shape == like[name].shape for name in same)
    beside = [name for name in tensors if not name.startswith(start)]
    name = ".".join((*place, prefix) if prefix else place)
    return StoredWeights(name, behind, beside, (of_shape, len(same)))


def _tensor_mappings(
    content: object, place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], StateDict]]:
    """Yield each mapping that holds tensors, with the keys that lead to it."""
    if not isinstance(content, Mapping) or len(place) > 4:
        return
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for key, value in content.items():
        yield from _tensor_mappings(value, (*place, str(key)))


def _without_wrappers(tensors: StateDict, wrappers: set[str]) -> StateDict:
    """Return tensors by name without what wrapped layers; a name that is there already stays."""
    short: dict[str, Any] = {}
    for name, value in tensors.items():
        bare = ".".join(part for part in name.split(".") if part not in wrappers)
        short[name if bare in short or bare in tensors else bare] = value
    return short


def _prefixes(name: str, like: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the prefixes behind which a name is one of the model's."""
    parts = name.split(".")
    for start in range(len(parts)):
        if ".".join(parts[start:]) in like:
            yield ".".join(parts[:start])


def _common_prefix(names: Mapping[str, Tensor]) -> str:
    """Return the usual prefix that all names have, or tltool's own."""
    if any(name.startswith(OWN) for name in names):
        return OWN[:-1]
    in_front = zip(*(name.split(".")[:-1] for name in names), strict=False)
    common = takewhile(lambda parts: len(set(parts)) == 1 and parts[0] in _PREFIXES, in_front)
    return ".".join(parts[0] for parts in common)


def _names(found: Sequence[StoredWeights]) -> str:
    return ", ".join(repr(weights.name) for weights in found)


def _listed(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" * (len(names) > limit))
