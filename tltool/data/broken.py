"""Find the files that cannot be decoded, before they are split."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.progress import track

from tltool.data.decode import BrokenImageError, decode_image


def find_broken(
    paths: Sequence[str],
    *,
    decode: Callable[[str], object] = decode_image,
    num_threads: int = 4,
    show_progress: bool = False,
) -> list[str]:
    """Decode every file once and return those that fail, in order.

    Args:
        paths: The files.
        decode: What raises `BrokenImageError` on a broken one.
        num_threads: Number of files decoded at the same time; Pillow decodes without Python's lock.
        show_progress: Whether a bar is shown.

    Example:
        >>> find_broken(["missing.jpg"])
        ['missing.jpg']
    """
    with ThreadPoolExecutor(num_threads) as pool:
        results = track(
            pool.map(lambda path: _is_broken(path, decode), paths),
            description="Looking for broken photos",
            total=len(paths),
            disable=not show_progress,
            transient=True,
        )
        return [path for path, is_broken in zip(paths, results, strict=True) if is_broken]


def describe_broken(broken: Sequence[str], num_photos: int) -> str:
    """Return the sentence that counts and names the files left out.

    Example:
        >>> describe_broken(["a.jpg", "b.jpg"], 100)
        'Left out 2 of 100 photos that cannot be read: a.jpg, b.jpg.'
    """
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    named = ", ".join(broken[:3])
    return f"Left out {len(broken)} of {num_photos} photos that cannot be read: {named}{more}."


def _is_broken(path: str, decode: Callable[[str], object]) -> bool:
    try:
        decode(path)
    except BrokenImageError:
        return True
    return False
