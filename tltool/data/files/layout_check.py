"""Checks of the layout of a folder: class folders that look like splits are refused."""

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from tltool.data.files.directory_listing import check_folder, list_folders
from tltool.data.files.natural_order import sort_classes
from tltool.data.files.split_words import named_splits, split_word

_LISTED = 20


def check_given(folders: Mapping[str, Path]) -> None:
    """Raise unless the given folder of each split is there, and none lies in another.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If two are one, or one holds the other.
    """
    for split, folder in folders.items():
        check_folder(folder, option=f"--data.split_folders.{split}")
        for other, outer in folders.items():
            if other != split and folder.resolve().is_relative_to(outer.resolve()):
                raise ValueError(
                    f"The folder '{folder}' for {split} is or lies in '{outer}' for {other}, so "
                    "the same images would be in both. Set --data.split_folders to one folder for "
                    "each split."
                )


def check_names(root: Path, found: Mapping[str, Path], others: Sequence[Path]) -> None:
    """Raise if a split beside those that were found by name has an unusual name or place.

    Args:
        root: The folder of the data.
        found: The folder of each split.
        others: The folders beside.

    Raises:
        ValueError: If one is as ``Testing`` beside ``train``, or as ``train/train``.
    """
    if not found:
        return
    places = {split: _innermost(folder) for split, folder in found.items()}
    for folder in others:
        word = split_word(folder.name)
        if word is not None and word.split not in places and list_folders(folder):
            places[word.split] = _innermost(folder)
    if places != dict(found):
        seen = _listed([folder.name for folder in (*found.values(), *others)])
        raise ValueError(
            f"'{root}' has the folders {seen}, and not all splits among them are called train, "
            f"val or test, or hold their class folders directly. Set {_option(root, places)}."
        )


def check_classes(
    folder: Path, classes: Mapping[str, Sequence[Path]], *, is_whole: bool, is_open: bool
) -> None:
    """Raise if class folders look like splits, or are one level too high.

    Args:
        folder: The folder that they are in.
        classes: The images of each class.
        is_whole: Whether it is the folder of the data, not that of a split.
        is_open: Whether the user may say which classes there are.

    Raises:
        FileNotFoundError: If they are splits without class folders.
        ValueError: If their names are words for splits, if all hold the same folders, or if the
            only one holds several.
    """
    filled = [name for name, paths in classes.items() if paths]
    _check_flat(folder, classes)
    if is_whole and len(filled) == 1:
        _check_only_one(folder, classes[filled[0]])
    names = named_splits(filled) if is_whole else {}
    why = "whose names are words for splits"
    if not names:
        shared = _shared_folders(folder, [classes[name] for name in filled])
        names = dict(zip(("train", "val"), filled, strict=False)) if len(shared) > 1 else {}
        why = f"which all hold the folders {_listed(shared)}"
        if names and is_whole and set(named_splits(shared).values()) == set(shared):
            raise ValueError(
                f"'{folder}' has the folders {_listed(filled)}, {why}: they look like data sets. "
                f"Take one of them, such as --data.root {shlex.quote(str(folder / filled[0]))}."
                + (f" If they are classes, set {_classes_option(list(classes))}." * is_open)
            )
    if names:
        places = {split: _innermost(folder / name) for split, name in names.items()}
        root = folder if is_whole else folder.parent
        raise ValueError(
            f"'{folder}' has the folders {_listed(filled)}, {why}: they look like splits, not "
            f"classes. If they are splits, set {_option(root, places)}."
            + (f" If they are classes, set {_classes_option(list(classes))}." if is_open else "")
        )


def check_links(images: Iterable[Sequence[Path]]) -> None:
    """Raise if a link gives the images of a folder to two classes or splits.

    Args:
        images: Those of each class of each split.

    Raises:
        ValueError: It names both folders.
    """
    seen: dict[str, str] = {}
    for paths in images:
        for folder in dict.fromkeys(map(os.path.dirname, paths)):
            other = seen.setdefault(os.path.realpath(folder), folder)
            if other != folder:
                raise ValueError(
                    f"The folders '{other}' and '{folder}' are one by a link, so the same images "
                    "would be in two splits, or of two classes. Remove the link."
                )


def _check_flat(folder: Path, classes: Mapping[str, Sequence[Path]]) -> None:
    """Raise if all that there is are folders such as Training with images directly in them."""
    words = [split_word(name) for name in classes]
    nested = any(path.parent.parent != folder for paths in classes.values() for path in paths)
    if not nested and all(word and not word.rest for word in words):
        raise FileNotFoundError(
            f"'{folder}' has no class folders with images, only {_listed(list(classes))}. There "
            "are images, but not in class folders. Put the images of each class into a folder of "
            f"its own: {folder / next(iter(classes))}/<class>/*."
        )


def _check_only_one(folder: Path, paths: Sequence[Path]) -> None:
    parents = {path.parent for path in paths}
    inside = Path(os.path.commonpath(parents))
    if inside not in parents:
        raise ValueError(
            f"'{folder}' has only one folder with images, '{inside}', which holds the folders "
            f"{_listed([one.name for one in list_folders(inside)])}. If these are the classes or "
            f"the splits, set --data.root {shlex.quote(str(inside))}."
        )


def _shared_folders(folder: Path, images: Sequence[Sequence[Path]]) -> list[str]:
    """Return the folders that all classes hold, none if one holds images directly."""
    depth = len(folder.parts) + 1
    held = [
        {path.parts[depth] if len(path.parts) > depth + 1 else "" for path in paths}
        for paths in images
    ]
    shared = set.intersection(*held) if len(held) > 1 and not any("" in one for one in held) else ()
    return sort_classes(shared)


def _innermost(folder: Path) -> Path:
    """Return the folder of a split without shells, as train/train is one of the other."""
    word, inside = split_word(folder.name), list_folders(folder)
    if len(inside) != 1 or word is None:
        return folder
    inner = split_word(inside[0].name)
    return _innermost(inside[0]) if inner and inner.split == word.split else folder


def _option(root: Path, folders: Mapping[str, Path]) -> str:
    named = {split: folder.relative_to(root).as_posix() for split, folder in folders.items()}
    return f"--data.split_folders {_as_word(named)}"


def _classes_option(names: list[str]) -> str:
    more = " and so on" if len(names) > _LISTED else ""
    return f"--data.class_names {_as_word(names[:_LISTED])}{more}"


def _as_word(value: object) -> str:
    """Return a value as one word of YAML for a shell."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return shlex.quote(text.strip())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
