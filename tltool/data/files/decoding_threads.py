"""Thread pool that maps a function over images: Pillow decodes without the interpreter lock."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tltool._progress import with_progress

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = 256  # results that may wait to be used; all of them would not fit into memory


def map_in_threads(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    description: str,
    show_progress: bool = False,
    num_threads: int = 4,
) -> Iterator[R]:
    """Yield ``function(item)`` of each item, in order.

    Args:
        function: What is done.
        items: To what.
        description: What the progress bar says.
        show_progress: Whether there is a bar.
        num_threads: Number of items at the same time.

    Example:
        >>> list(map_in_threads(len, ["a", "bcd"], description="Measuring"))
        [1, 3]
    """
    with ThreadPoolExecutor(num_threads) as pool:
        chunks = (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
        results = (result for chunk in chunks for result in pool.map(function, chunk))
        yield from with_progress(results, description, total=len(items), show=show_progress)
