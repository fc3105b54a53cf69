"""Listing of folders: images, class folders, nearest names; not what is hidden or of a system."""

import difflib
import logging
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from tltool.data.files.decoding import is_image_name, is_stream
from tltool.data.files.natural_order import NaturalKey, natural_key

log = logging.getLogger(__name__)

SYSTEM_FOLDERS = {
    "__macosx",  # the twin that macOS writes into zip files
    "temporary items",
    "network trash folder",
    "@eadir",  # thumbnails of a Synology disk station
    "@tmp",
    "#recycle",
    "#snapshot",
    "@recycle",  # of a QNAP
    "@recently-snapshot",
    "@__thumb",
    "~snapshot",  # of a NetApp
    "$recycle.bin",  # of Windows
    "recycler",
    "system volume information",
    "found.000",
    "lost+found",  # of Linux
    "__pycache__",
}
"""Folders that belong to a system, not to the data, in lower case."""

_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"}


def list_images(folder: Path, *, left_out: set[str] | None = None) -> list[Path]:
    """Return the images in a folder and its subfolders, sorted by their path.

    Pipes, sockets and devices are left out with a warning.

    Args:
        folder: Where to look.
        left_out: Takes the names of the folders that are hidden or belong to a system; ``None`` to
            log them.

    Raises:
        OSError: If one of them cannot be listed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.JPG", "a.png", ".DS_Store", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in list_images(folder)]
        ['a.png', 'b.JPG']
    """
    found, seen, hidden, streams = list[Path](), set[str](), set[str](), list[Path]()
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # Links are followed, and may lead in a circle.
            folders.clear()
            continue
        seen.add(real)
        hidden.update(name for name in folders if not _is_visible(name))
        folders[:] = sorted(filter(_is_visible, folders))  # Of two links to one, always the same.
        images = [Path(parent, name) for name in files if is_image_name(name)]
        others = _no_plain_files(parent) if images else set[str]()
        streams += [path for path in images if path.name in others and is_stream(path)]
        found += [path for path in images if path not in streams]
    if left_out is None:
        log_left_out(hidden)
    else:
        left_out |= hidden
    if streams:
        message = "Left out %d pipes, sockets or devices that are named like images, such as '%s'."
        log.warning(message, len(streams), streams[0])
    return sorted(found, key=lambda path: path.parts)


def list_folders(folder: Path, *, left_out: set[str] | None = None) -> list[Path]:
    """Return the visible subfolders of a folder in natural order.

    Args:
        folder: Where to look.
        left_out: Takes the names of the others.

    Raises:
        OSError: If it cannot be listed.
    """
    try:
        found = [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        _refuse(error)
    if left_out is not None:
        left_out |= {path.name for path in found if not _is_visible(path.name)}
    return sorted((path for path in found if _is_visible(path.name)), key=_folder_key)


def _no_plain_files(folder: str) -> set[str]:
    """Return the names in a folder that are links, pipes and the like; no file is looked at."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_file(follow_symlinks=False)}
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    """Raise the error of a folder that cannot be listed."""
    raise OSError(
        f"Cannot list the folder '{error.filename}': {error.strerror}. Its images would be "
        "missing: make it readable, mount its file system again, or move it out of the images' "
        "folder."
    ) from error


def log_left_out(names: Collection[str]) -> None:
    """Name the hidden and system folders that were left out, if there are any."""
    if names:
        listed = ", ".join(sorted(map(printable, names), key=natural_key))
        log.info("Left out folders that are hidden or belong to a system: %s.", listed)


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


def as_root(root: str | Path) -> Path:
    """Return the folder of the data as a path, with ``~`` written out.

    Raises:
        ValueError: If it is empty, which would mean the working directory.
    """
    if not str(root):
        raise ValueError(
            "--data.root is empty, as a variable of the shell that is not set would leave it. Name "
            "the folder with the images, or . for this one."
        )
    return Path(os.path.expanduser(root))  # Path.expanduser fails on a user that is not known.


def check_folder(root: Path, *, option: str = "--data.root") -> None:
    """Raise unless ``root`` is a folder.

    Args:
        root: The folder.
        option: Where it was named, for the message.

    Raises:
        FileNotFoundError: If nothing is there; the message offers the nearest name that is.
        NotADirectoryError: If it is a file.
    """
    if root.is_dir():
        return
    if root.exists():
        if root.suffix.lower() in _ARCHIVES:
            raise NotADirectoryError(
                f"'{root}' is an archive. Unpack it, and set {option} to the folder that it holds."
            )
        raise NotADirectoryError(
            f"'{root}' is a file, but the data must be a folder. Set {option} '{root.parent}', "
            "or the folder that holds one folder for each class."
        )
    near, above = nearest_path(root), _first_missing(root).parent
    listed = ", ".join(path.name for path in list_folders(above)[:10]) or "none"
    advice = f"Set {option} to your images' folder; '{above}' has these folders: {listed}."
    if near is not None and near.is_dir():
        advice = f"Did you mean {option} '{near}'?"
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


def _folder_key(folder: Path) -> tuple[NaturalKey, str]:
    # Two forms of an accent are one class name, but two folders.
    return natural_key(class_name(folder)), folder.name


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS
