"""Replace modules of a model in place, found by one traversal: shared ones stay shared."""

import copy
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate, chain
from typing import NamedTuple

from torch import Tensor, nn


class Place(NamedTuple):
    """One module, and everywhere it hangs in a model."""

    module: nn.Module
    #: Its dotted names, more than one where it is shared.
    names: tuple[str, ...]
    #: Each module that holds it, and under which attribute.
    owners: tuple[tuple[nn.Module, str], ...]


def walk(model: nn.Module) -> list[Place]:
    """Return each module below ``model`` once, in the order of definition.

    Example:
        >>> relu = nn.ReLU()
        >>> model = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
        >>> [place.names for place in walk(model)]
        [('0',), ('1', '3'), ('2',)]
    """
    by_name = dict(model.named_modules(remove_duplicate=False))
    names: dict[nn.Module, list[str]] = {}
    owners: dict[nn.Module, dict[tuple[nn.Module, str], None]] = {}
    for name, module in by_name.items():
        if module is not model:
            names.setdefault(module, []).append(name)
            # An owner that is itself shared is met under each of its names.
            prefix, _, attribute = name.rpartition(".")
            owners.setdefault(module, {})[by_name[prefix], attribute] = None
    return [Place(each, tuple(names[each]), tuple(owners[each])) for each in names]


def replace_modules(
    model: nn.Module,
    where: Callable[[Place], bool],
    create: Callable[[Place], nn.Module],
    *,
    only: str | Sequence[str] = "*",
) -> tuple[str, ...]:
    """Replace modules in place, and return the dotted names that changed.

    A shared module is replaced once and stays shared. Where one match lies inside another, the
    outer one is replaced. The new module takes over the train or eval mode of the old one, and the
    device and floating-point type of what lies around it.

    Args:
        model: Is changed. The model itself is never replaced, only what lies below it.
        where: Tells whether the module at a place is to be replaced.
        create: Makes the new module.
        only: One or more patterns of dotted names, as in ``fnmatch``: ``blocks.*``. A shared module
            is chosen by any of its names.

    Raises:
        ValueError: If a pattern matches no module that ``where`` accepts.
        TypeError: If a pattern is no text.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU())
        >>> is_relu = lambda place: isinstance(place.module, nn.ReLU)
        >>> replace_modules(model, is_relu, lambda place: nn.GELU(), only="3")
        ('3',)
    """
    found = outermost(place for place in walk(model) if where(place))
    patterns = check_patterns(only, [place.names for place in found])
    chosen = [place for place in found if matches(place.names, patterns)]
    for place in chosen:
        module = create(place).train(place.module.training)
        neighbor = _neighbor(model, place.names[0])
        if neighbor is not None:
            module.to(device=neighbor.device, dtype=neighbor.dtype)
        for owner, attribute in place.owners:
            setattr(owner, attribute, module)
    return tuple(name for place in chosen for name in place.names)


def outermost(places: Iterable[Place]) -> list[Place]:
    """Leave out each place that lies inside another one of ``places``."""
    places = list(places)
    names = {name for place in places for name in place.names}
    return [place for place in places if not all(names & _parents(name) for name in place.names)]


def without_activation(norm: nn.Module) -> nn.Module:
    """Return a norm layer of the same parameters and statistics that only normalizes."""
    bare = copy.copy(norm)
    bare._modules = {name: nn.Identity() for name in norm._modules}
    return bare


def check_patterns(
    only: str | Sequence[str], candidates: Sequence[Sequence[str]], kind: str = "module"
) -> tuple[str, ...]:
    """Return the patterns in ``only``, each of which must match a candidate.

    Args:
        only: One pattern, or several.
        candidates: The names of each thing that can be chosen.
        kind: What is chosen from; for the message.

    Raises:
        ValueError: If a pattern matches nothing, or there is none.
        TypeError: If a pattern is no text.

    Example:
        >>> check_patterns("stage.*", [["stages.0.act"]], kind="activation")
        Traceback (most recent call last):
        ...
        ValueError: `only` 'stage.*' matches no activation. Their names are: stages.0.act. ...
    """
    patterns = tuple(only) if isinstance(only, list | tuple) else (only,)
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(
            f"`only` must be a pattern of dotted names such as 'blocks.*', or a list of them; got "
            f"{only!r}."
        )
    for pattern in patterns:
        if not any(matches(names, (pattern,)) for names in candidates):
            raise ValueError(
                f"`only` {pattern!r} matches no {kind}. Their names are: "
                f"{shortened([name for names in candidates for name in names])}. In a pattern, * "
                "stands for any text, dots too."
            )
    return patterns


def matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether any of the patterns matches any of the names."""
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def shortened(names: Sequence[str], limit: int = 6) -> str:
    """Return a list of names for a message.

    Example:
        >>> shortened(["a", "b", "c"], limit=2)
        'a, b, ... (3)'
    """
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")


def _parents(name: str) -> set[str]:
    """Return the dotted names of what ``name`` lies in.

    Example:
        >>> sorted(_parents("blocks.0.act"))
        ['blocks', 'blocks.0']
    """
    return set(accumulate(name.split(".")[:-1], "{}.{}".format))


def _neighbor(model: nn.Module, name: str) -> Tensor | None:
    """Return the floating-point tensor nearest to a module: its own, or one of its owners'."""
    paths = ["", *accumulate(name.split("."), "{}.{}".format)]
    modules = [model.get_submodule(path) for path in reversed(paths)]
    tensors = (chain(module.parameters(), module.buffers()) for module in modules)
    return next(filter(Tensor.is_floating_point, chain.from_iterable(tensors)), None)
