"""Layout of a folder of images: ``<class>/*``, or ``{train,val,test}/<class>/*``."""

import logging
from collections import Counter
from pathlib import Path

from tltool.data.files.decoding import IMAGE_SUFFIXES
from tltool.data.files.directory_listing import check_folder, class_name, list_folders, list_images

log = logging.getLogger(__name__)

WHOLE = "all"
"""The split of a folder without splits."""

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What the splits are called, in lower case."""

Found = dict[str, list[Path]]
"""The images of each class, classes in alphabetical order."""


def find_images(root: Path) -> dict[str, Found]:
    """Return the images of each class of each split: ``train``, ``val``, ``test``, or `WHOLE`.

    Raises:
        FileNotFoundError: If there is no folder, or no image in class folders.
        NotADirectoryError: If ``root`` is a file.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/ants", "train/bees", "test/ants"):
        ...     (root / name).mkdir(parents=True)
        ...     (root / name / "1.jpg").touch()
        >>> {split: list(classes) for split, classes in find_images(root).items()}
        {'train': ['ants', 'bees'], 'test': ['ants']}
    """
    check_folder(root)
    return {split: _images_by_class(folder) for split, folder in _split_folders(root).items()}


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of train, val and test, in this order, or the root as `WHOLE`.

    A folder ``train`` with images directly in it is a class: images of trains.
    """
    found: dict[str, Path] = {}
    others = []
    for folder in list_folders(root):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None or not list_folders(folder):
            others.append(folder.name)
        elif split in found:
            raise ValueError(
                f"'{root}' has two folders for {split}: {found[split].name} and {folder.name}. "
                "Remove one."
            )
        else:
            found[split] = folder
    if not found and others and all(name.lower() in SPLIT_NAMES for name in others):
        raise FileNotFoundError(_no_images(root / others[0], {}))
    if found and others:
        listed = ", ".join(found), ", ".join(others)
        log.warning("'%s' has %s; left out the folders beside: %s.", root, *listed)
    order = list(SPLIT_NAMES.values())
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]))) or {WHOLE: root}


def _images_by_class(folder: Path) -> Found:
    classes: Found = {}
    for class_folder in list_folders(folder):
        classes.setdefault(class_name(class_folder), []).extend(list_images(class_folder))
    if not classes or not any(classes.values()):
        raise FileNotFoundError(_no_images(folder, classes))
    return classes


def describe_files(folder: Path) -> str:
    """Return the sentence that says which suffixes are read, and which ones are there."""
    suffixes = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file())
    seen = ", ".join(suffix or "no suffix" for suffix, _ in suffixes.most_common(5))
    return (
        f"Files with these suffixes are read: {' '.join(IMAGE_SUFFIXES)}; "
        f"here are: {seen or 'no files'}."
    )


def _no_images(folder: Path, classes: Found) -> str:
    lost = not classes and list_images(folder)
    flat = " There are images, but not in class folders." if lost else ""
    return (
        f"'{folder}' has no class folders with images.{flat} Put the images of each class into a "
        f"folder of its own: {folder}/<class>/*. {describe_files(folder)}"
    )
