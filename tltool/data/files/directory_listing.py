"""Listing of folders: images, class folders, nearest names; hidden files are left out."""

import difflib
import os
import unicodedata
from pathlib import Path

from tltool.data.files.decoding import is_image_name

_IGNORED_FOLDERS = {"__MACOSX"}  # the twin that macOS writes into zip files


def list_images(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, sorted by their path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.JPG", "a.png", ".DS_Store", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in list_images(folder)]
        ['a.png', 'b.JPG']
    """
    found, seen = [], set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # Links are followed, and may lead in a circle.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = filter(_is_visible, folders)
        found += [Path(parent, name) for name in files if is_image_name(name)]
    return sorted(found, key=lambda path: path.parts)


def list_folders(folder: Path) -> list[Path]:
    """Return the visible subfolders of a folder, sorted by name."""
    found = (path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))
    return sorted(found, key=class_name)


def class_name(folder: Path) -> str:
    """Return the name of a class folder, with composed accents: macOS hands out decomposed ones."""
    return unicodedata.normalize("NFC", printable(folder.name))


def printable(path: str) -> str:
    r"""Return a path that can be written as UTF-8: other bytes, as from old zip files, are escaped.

    Example:
        >>> printable(os.fsdecode(b"K\xe4fer.jpg"))
        'K\\xe4fer.jpg'
    """
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def check_folder(root: Path) -> None:
    """Raise unless ``root`` is a folder.

    Raises:
        FileNotFoundError: If nothing is there; the message offers the nearest name that is.
        NotADirectoryError: If it is a file.
    """
    if root.is_dir():
        return
    if root.exists():
        raise NotADirectoryError(
            f"'{root}' is a file, but the data must be a folder. Set --data.root '{root.parent}', "
            "or the folder that holds one folder for each class."
        )
    near, above = nearest_path(root), _first_missing(root).parent
    listed = ", ".join(path.name for path in list_folders(above)[:10]) or "none"
    advice = f"Set --data.root to your images' folder; '{above}' has these folders: {listed}."
    if near is not None and near.is_dir():
        advice = f"Did you mean --data.root '{near}'?"
    raise FileNotFoundError(f"There is no folder '{root}'. {advice}")


def nearest_path(path: Path) -> Path | None:
    """Return an existing path that differs from a missing one by one similar name, if there is one.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "images").mkdir()
        >>> nearest_path(folder / "imges").name
        'images'
    """
    missing = _first_missing(path)
    there = [other.name for other in missing.parent.iterdir() if _is_visible(other.name)]
    rest = path.absolute().relative_to(missing)
    for near in difflib.get_close_matches(missing.name, there):
        if (missing.parent / near / rest).exists():
            return missing.parent / near / rest
    return None


def _first_missing(path: Path) -> Path:
    missing = path.absolute()
    while not missing.parent.is_dir():
        missing = missing.parent
    return missing


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name not in _IGNORED_FOLDERS
