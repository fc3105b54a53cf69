"""Find the files that cannot be decoded, before they are split."""

from collections.abc import Sequence

from tltool.data.files.decoding import BrokenImageError, decode_image
from tltool.data.files.decoding_threads import map_in_threads


def find_broken(paths: Sequence[str], *, show_progress: bool = False) -> list[str]:
    """Decode every file once and return those that fail, in order.

    Example:
        >>> find_broken(["missing.jpg"])
        ['missing.jpg']
    """
    results = map_in_threads(
        _is_broken, paths, description="Looking for broken images", show_progress=show_progress
    )
    return [path for path, is_broken in zip(paths, results, strict=True) if is_broken]


def _is_broken(path: str) -> bool:
    try:
        decode_image(path)
    except BrokenImageError:
        return True
    return False
