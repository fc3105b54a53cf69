"""How a folder of photos is laid out: ``<class>/*``, or ``{train,val,test}/<class>/*``."""

import logging
from collections import Counter
from pathlib import Path

from tltool.data.decode import IMAGE_SUFFIXES
from tltool.data.listing import check_folder, class_name, list_folders, list_images

log = logging.getLogger(__name__)

WHOLE = "all"
"""The part of a folder without parts."""

PART_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What the parts are called, in lower case."""

Found = dict[str, list[Path]]
"""The photos of each class, classes in alphabetical order."""


def find_photos(root: Path) -> dict[str, Found]:
    """Return the photos of each class of each part: ``train``, ``val``, ``test``, or `WHOLE`.

    Raises:
        FileNotFoundError: If there is no folder, or no photo in class folders.
        NotADirectoryError: If ``root`` is a file.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/ants", "train/bees", "test/ants"):
        ...     (root / name).mkdir(parents=True)
        ...     (root / name / "1.jpg").touch()
        >>> {part: list(classes) for part, classes in find_photos(root).items()}
        {'train': ['ants', 'bees'], 'test': ['ants']}
    """
    check_folder(root)
    part_folders = _part_folders(root)
    if not part_folders:
        return {WHOLE: _photos_by_class(root)}
    return {part: _photos_by_class(folder) for part, folder in part_folders.items()}


def _part_folders(root: Path) -> dict[str, Path]:
    """Return the folders of train, val and test, in this order, or nothing.

    A folder ``train`` with photos directly in it is a class: photos of trains.
    """
    found: dict[str, Path] = {}
    others = []
    for folder in list_folders(root):
        part = PART_NAMES.get(folder.name.lower())
        if part is None or not list_folders(folder):
            others.append(folder.name)
        elif part in found:
            raise ValueError(
                f"'{root}' has two folders for {part}: {found[part].name} and {folder.name}. "
                "Remove one."
            )
        else:
            found[part] = folder
    if not found and others and all(name.lower() in PART_NAMES for name in others):
        raise FileNotFoundError(_no_photos(root / others[0], {}))
    if found and others:
        log.warning(
            "'%s' has %s; left out the folders beside: %s.",
            root,
            ", ".join(found),
            ", ".join(others),
        )
    return {part: found[part] for part in ("train", "val", "test") if part in found}


def _photos_by_class(folder: Path) -> Found:
    classes: Found = {}
    for class_folder in list_folders(folder):
        classes.setdefault(class_name(class_folder), []).extend(list_images(class_folder))
    if not classes or not any(classes.values()):
        raise FileNotFoundError(_no_photos(folder, classes))
    return classes


def describe_files(folder: Path) -> str:
    """Return the sentence that says which suffixes are read, and which ones are there."""
    suffixes = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file())
    seen = ", ".join(suffix or "no suffix" for suffix, _ in suffixes.most_common(5))
    return (
        f"Files with these suffixes are read: {' '.join(IMAGE_SUFFIXES)}; "
        f"here are: {seen or 'no files'}."
    )


def _no_photos(folder: Path, classes: Found) -> str:
    lost = not classes and list_images(folder)
    flat = " There are photos, but not in class folders." if lost else ""
    return (
        f"'{folder}' has no class folders with photos.{flat} Put the photos of each class into a "
        f"folder of its own: {folder}/<class>/*. {describe_files(folder)}"
    )
