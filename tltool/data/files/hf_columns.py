"""Columns of a data set of Hugging Face: which one holds the images, which the labels, as text."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tltool._lookup import lookup

_LABELS = ("label", "labels", "class", "target")


def find_image_column(features: Mapping[str, Any], given: str | None, *, place: str) -> str:
    """Return the column with the images: pictures of ``datasets``, or bytes.

    Args:
        features: The columns by name.
        given: The one that the user named.
        place: Where the data lies, for messages.

    Raises:
        ValueError: If there is none or several, or the one that was named holds no images.
    """
    images = [name for name, feature in features.items() if _holds_images(feature)]
    if given is not None:
        lookup(dict.fromkeys(features), given, kind=f"column of {place}")
    if given is not None and given not in images:
        raise ValueError(
            f"The column {given!r} of {place} holds no images, but {features[given]}. Columns with "
            f"images: {', '.join(images) or 'none'}."
        )
    if given is None and len(images) != 1:
        why = f"several columns with images: {', '.join(images)}. Set --data.image_column to one"
        none = f"no column with images; it has {', '.join(features)}. Cast one to datasets.Image"
        raise ValueError(f"{place} has {why if images else none}.")
    return given or images[0]


def find_label_column(features: Mapping[str, Any], given: str | None, *, place: str) -> str | None:
    """Return the column with the labels, or ``None`` if there is none.

    That is the one of class labels, or the one that is called label, labels, class or target.

    Args:
        features: See `find_image_column`.
        given: See `find_image_column`.
        place: See `find_image_column`.

    Raises:
        ValueError: If there are several, or none of the name that was given.

    Example:
        >>> find_label_column({"image": "...", "label": "..."}, None, place="'flowers'")
        'label'
    """
    if given is not None:
        lookup(dict.fromkeys(features), given, kind=f"column of {place}")
        return given
    classes = [name for name, feature in features.items() if _class_names(feature)]
    named = [name for name in _LABELS if name in features]
    found = classes or named
    if len(found) > 1:
        raise ValueError(
            f"{place} has several columns with labels: {', '.join(found)}. Set --data.label_column "
            "to one."
        )
    return found[0] if found else None


def label_texts(feature: Any, cells: Iterable[Any], separator: str) -> list[str]:
    """Return the labels in a column as text, empty where there is none.

    Args:
        feature: The column's type.
        cells: Its values: class numbers, texts, numbers, or lists of them.
        separator: Between the classes of one image.
    """
    names = _class_names(feature)
    to_text = (lambda cell: _named(cell, names)) if names else _plain_text
    return [_cell_text(cell, to_text, separator) for cell in cells]


def class_order(feature: Any) -> list[str]:
    """Return the classes that a column declares, in its order; empty if it declares none."""
    return _class_names(feature)


def _holds_images(feature: Any) -> bool:
    if isinstance(feature, Mapping):  # As Parquet files have them that others wrote.
        return "bytes" in feature
    return type(feature).__name__ == "Image" or getattr(feature, "dtype", "") in {
        *("binary", "large_binary"),
    }


def _class_names(feature: Any) -> list[str]:
    inner = getattr(feature, "feature", feature)  # of a list
    names = getattr(inner, "names", None)
    return [unicodedata.normalize("NFC", name) for name in names or []]


def _named(cell: int, names: list[str]) -> str:
    return names[cell] if cell >= 0 else ""  # -1 is how `datasets` writes that there is none.


def _plain_text(cell: Any) -> str:
    return unicodedata.normalize("NFC", str(cell))


def _cell_text(cell: Any, to_text: Callable[[Any], str], separator: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list):
        return separator.join(to_text(each) for each in cell)
    return to_text(cell)
