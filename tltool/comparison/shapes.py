"""Shapes of heads: those of one shape train together, in stacks that fit the cache."""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# Larger stacks fall out of the CPU's cache, and each head takes longer.
STACK_BYTES = 16 * 2**20
_FLOAT_BYTES = 4
_VALUES_ONLY = ("initializer", "bias", "output_initializer")  # they do not change the shape


def head_shape(head: Mapping[str, Any]) -> str:
    """Return a text that is the same for all heads that one stack can hold.

    Args:
        head: Arguments of `Head`.

    Example:
        >>> head_shape({"hidden_features": [8], "bias": 1}) == head_shape({"hidden_features": (8,)})
        True
    """
    shape = {key: value for key, value in head.items() if key not in _VALUES_ONLY}
    return json.dumps(shape, sort_keys=True, default=list)


def stacks_of(
    items: Iterable[T], *, shape: Callable[[T], Hashable], num_parameters: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield the items that train together, in the order in which their shapes first occur.

    Args:
        items: Anything that stands for a head.
        shape: What all members of a stack have in common.
        num_parameters: Number of parameters of an item's head.

    Example:
        >>> [*stacks_of("abA", shape=str.lower, num_parameters=lambda item: 100)]
        [['a', 'A'], ['b']]
        >>> [*stacks_of("aaa", shape=str.lower, num_parameters=lambda item: 2 * 2**20)]
        [['a', 'a'], ['a']]
    """
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(shape(item), []).append(item)
    for group in groups.values():
        size = max(STACK_BYTES // (_FLOAT_BYTES * num_parameters(group[0])), 1)
        for start in range(0, len(group), size):
            yield group[start : start + size]
