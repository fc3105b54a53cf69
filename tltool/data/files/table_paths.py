"""Paths in a table of images: those of Windows, one name for each image, and why one is missing."""

import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath

_DRIVE = re.compile(r"(?:^|/)[A-Za-z]:/")


def local_path(path: str, root: Path) -> str:
    r"""Return a path with the slashes of this system.

    Windows writes backslashes. Elsewhere a name may hold one: it is kept where there is such a
    file.

    Example:
        >>> local_path("ants\\1.jpg", Path("images"))
        'ants/1.jpg'
    """
    if "\\" not in path or (root / path).is_file():
        return path
    return PureWindowsPath(path).as_posix()


def path_below(path: str, root: Path) -> str:
    """Return the path from a folder to an image, by which it is known wherever the folder lies.

    An image elsewhere that is named from the root of the disk keeps that name.

    Example:
        >>> path_below("./ants/1.jpg", Path("images")), path_below("/1.jpg", Path("images"))
        ('ants/1.jpg', '/1.jpg')
    """
    below = Path(os.path.relpath(root / path, root))
    is_outside = ".." in below.parts and os.path.isabs(path)
    return os.path.normpath(path) if is_outside else below.as_posix()


def real_paths(paths: Iterable[str]) -> Iterator[str]:
    """Yield the one path of each file: absolute, and without links to folders.

    A link to a file counts as a file of its own. Each folder is looked up once.

    Example:
        >>> list(real_paths(["/ants/./1.jpg"]))
        ['/ants/1.jpg']
    """
    real_folder = functools.cache(os.path.realpath)
    for path in paths:
        folder, name = os.path.split(path)
        yield os.path.join(real_folder(folder), name)


def missing_image_advice(path: Path) -> str:
    """Return what to do about an image that a table names and that does not exist."""
    if _DRIVE.search(path.as_posix()):
        return (
            "It has a drive of Windows. Write the paths from the folder of the images on, such as "
            "ants/1.jpg, and set --data.root to that folder."
        )
    if path.parent.is_dir():
        wanted = path.name.lower()
        for near in sorted(path.parent.iterdir()):
            if wanted in (near.name.lower(), near.stem.lower()):
                return f"There is '{near.name}': write names with their suffix, in the same case."
    return (
        "Set --data.root to the folder that the paths start from, or set --data.broken_files skip."
    )
