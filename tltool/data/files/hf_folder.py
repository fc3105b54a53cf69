"""Data sets of Hugging Face ``datasets`` on disk: their splits, from Arrow or Parquet files."""

import importlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.data.files.directory_listing import nearest_path
from tltool.data.files.folder_layout import WHOLE
from tltool.data.files.split_words import split_word

# What `save_to_disk` writes beside the Arrow files of several splits, and of one.
_SEVERAL, _ONE = "dataset_dict.json", "state.json"


def open_hf_folder(root: Path) -> dict[str, Any]:
    """Open a data set, and return its splits by their own names, without a network.

    Args:
        root: A folder that ``save_to_disk`` of ``datasets`` wrote, with one split or several; or a
            folder with Parquet files, such as ``train-00000-of-00001.parquet``, in it or in
            ``data``, as a repository of the hub has them.

    Returns:
        A ``datasets.Dataset`` by split, `WHOLE` where the data does not name one. Arrow files stay
        on the disk; Parquet files are read into memory.

    Raises:
        FileNotFoundError: If there is no such folder.
        ModuleNotFoundError: If the package is missing.
        ValueError: If it is no such data set, or damaged.
    """
    if not root.is_dir():
        near = nearest_path(root)
        hint = f"Did you mean '{near}'?" if near else "Name one that `save_to_disk` wrote."
        raise FileNotFoundError(f"There is no folder '{root}'. {hint}")
    if importlib.util.find_spec("datasets") is None:
        raise ModuleNotFoundError(
            "Data sets of Hugging Face need one more package. Type: pip install "
            "'tltool[huggingface]'"
        )
    arrow = importlib.import_module("pyarrow")  # It comes with the other.
    try:
        found = _open(root)
    except (OSError, ValueError, TypeError, LookupError, arrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"The data set in '{root}' is damaged ({reason}). Save or copy it again."
        ) from error
    if not found:
        raise ValueError(
            f"'{root}' is no data set of Hugging Face: it has neither {_SEVERAL} nor {_ONE}, as "
            "`save_to_disk` writes them, nor Parquet files. For images in class folders, leave "
            "class_path out."
        )
    return found


def _open(root: Path) -> dict[str, Any]:
    datasets = importlib.import_module("datasets")
    if (root / _SEVERAL).is_file():
        names = json.loads((root / _SEVERAL).read_text(encoding="utf-8"))["splits"]
        return {name: datasets.Dataset.load_from_disk(str(root / name)) for name in names}
    if (root / _ONE).is_file():
        return {WHOLE: datasets.Dataset.load_from_disk(str(root))}
    return _read_parquet(datasets, root)


def _read_parquet(datasets: Any, root: Path) -> dict[str, Any]:
    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    paths: dict[str, list[Path]] = {}
    for path in sorted(root.glob("*.parquet")) or sorted(root.glob("data/*.parquet")):
        word = split_word(path.name.partition("-")[0].removesuffix(".parquet"))
        paths.setdefault(word.split if word else WHOLE, []).append(path)
    return {
        split: datasets.Dataset(
            datasets.table.InMemoryTable(
                arrow.concat_tables([parquet.read_table(path) for path in files])
            )
        )
        for split, files in paths.items()
    }


def known_splits(names: Mapping[str, Any], *, place: str) -> dict[str, str]:
    """Return the split that each name stands for, without names that stand for none.

    Raises:
        ValueError: If none does, and there are several.

    Example:
        >>> known_splits({"train": [], "validation": [], "unsupervised": []}, place="'flowers'")
        {'train': 'train', 'validation': 'val'}
    """
    if len(names) == 1:
        (name,) = names
        word = split_word(name)
        return {name: word.split if word else WHOLE}
    words = {name: split_word(name) for name in names}
    found = {name: word.split for name, word in words.items() if word and not word.rest}
    if not found:
        raise ValueError(
            f"None of the splits of {place} is known: {', '.join(names)}. Call them train, "
            "validation and test."
        )
    return found
