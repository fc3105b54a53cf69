"""Layout of a folder of images: ``<class>/*``, or ``{train,val,test}/<class>/*``."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from tltool._lookup import lookup
from tltool.data.files.decoding import IMAGE_SUFFIXES, is_image_name
from tltool.data.files.directory_listing import (
    check_folder,
    class_name,
    list_folders,
    list_images,
    log_left_out,
)
from tltool.data.files.layout_check import (
    check_classes,
    check_given,
    check_links,
    check_names,
)
from tltool.data.files.split_words import SPLIT_NAMES, SPLITS

log = logging.getLogger(__name__)

WHOLE = "all"
"""The split of a folder without splits."""

Found = dict[str, list[Path]]
"""The images of each class, classes in natural order."""


def find_images(
    root: Path, folders: Mapping[str, Path], *, known: Collection[str] = ()
) -> dict[str, Found]:
    """Return the images of each class of each split.

    Args:
        root: The folder of the data.
        folders: The folder of each split, see `find_split_folders`.
        known: Names that are known to be of classes.

    Raises:
        FileNotFoundError: If there is no image in class folders.
        ValueError: If the classes look like splits, see `check_classes`, or a link gives images to
            two classes or splits.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/ants", "train/bees", "test/ants"):
        ...     (root / name).mkdir(parents=True)
        ...     (root / name / "1.jpg").touch()
        >>> found = find_images(root, find_split_folders(root))
        >>> {split: list(classes) for split, classes in found.items()}
        {'train': ['ants', 'bees'], 'test': ['ants']}
    """
    left_out = set[str]()
    list_folders(root, left_out=left_out)
    found = {split: _images_by_class(folder, left_out) for split, folder in folders.items()}
    log_left_out(left_out)
    for split, classes in found.items():
        if not known or not classes.keys() <= set(known):
            check_classes(folders[split], classes, is_whole=split == WHOLE, is_open=not known)
    check_links([paths for classes in found.values() for paths in classes.values()])
    return found


def find_split_folders(root: Path, given: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Return the folders of train, val and test, in this order, or the root as `WHOLE`.

    A folder ``train`` with images directly in it is a class: images of trains.

    Args:
        root: The folder of the data.
        given: The folder of each split, relative to the root; ``None`` to find them by their names.

    Raises:
        FileNotFoundError: If there is no such folder.
        NotADirectoryError: If it is a file.
        ValueError: If a split has two folders, or one with an unusual name.
    """
    check_folder(root)
    if given:
        named = {lookup(SPLIT_NAMES, split.lower(), kind="split"): given[split] for split in given}
        found = {split: root / named[split] for split in SPLITS if split in named}
        check_given(found)
    else:
        found = _folders_by_name(root)
    others = [
        folder
        for folder in list_folders(root)
        if not any(chosen.is_relative_to(folder) for chosen in found.values())
    ]
    if not given:
        check_names(root, found, others)
    if found and others:
        listed = ", ".join(found), ", ".join(folder.name for folder in others)
        log.warning("'%s' has %s; left out the folders beside: %s.", root, *listed)
    return found or {WHOLE: root}


def _folders_by_name(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    folders = list_folders(root)
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None or not list_folders(folder):
            continue
        if split in found:
            raise ValueError(
                f"'{root}' has two folders for {split}: {found[split].name} and {folder.name}. "
                "Remove one."
            )
        found[split] = folder
    return {split: found[split] for split in SPLITS if split in found}


def _images_by_class(folder: Path, left_out: set[str]) -> Found:
    classes: Found = {}
    for class_folder in list_folders(folder, left_out=left_out):
        images = list_images(class_folder, left_out=left_out)
        classes.setdefault(class_name(class_folder), []).extend(images)
    if not any(classes.values()):
        raise FileNotFoundError(_no_images(folder, classes))
    with os.scandir(folder) as entries:
        loose = sum(is_image_name(entry.name) for entry in entries)
    if loose:
        log.warning("Left out %d images in '%s' that are in no class folder.", loose, folder)
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
