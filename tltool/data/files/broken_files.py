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


def describe_broken(broken: Sequence[str], num_images: int) -> str:
    """Return the sentence that counts and names the files left out.

    Example:
        >>> describe_broken(["a.jpg", "b.jpg"], 100)
        'Left out 2 of 100 images that cannot be read: a.jpg, b.jpg.'
    """
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    named = ", ".join(broken[:3])
    return f"Left out {len(broken)} of {num_images} images that cannot be read: {named}{more}."


def _is_broken(path: str) -> bool:
    try:
        decode_image(path)
    except BrokenImageError:
        return True
    return False
