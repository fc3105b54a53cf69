"""Datamodule of images in folders: one for each class, with or without train, val and test."""

import functools
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.records import ImageRecord
from tltool.data.datamodules.shared_options import FileOptions, Unpack
from tltool.data.files.directory_listing import as_root, check_folder, class_name, list_images
from tltool.data.files.folder_layout import Found, describe_files, find_images, find_split_folders
from tltool.data.files.path_stream import STANDARD_INPUT, read_paths
from tltool.data.files.split_words import SPLIT_NAMES
from tltool.data.loading.samples import Samples


class ImageFolderDataModule(ImageDataModule):
    """Images in one folder for each class.

    Two layouts are read, each with subfolders of any depth below the class:

    - ``root/<class>/*``: split by ``seed`` and ``val_fraction``, each class by the same fraction.
      ``validate`` finds the same validation images again. There is no test split.
    - ``root/{train,val,test}/<class>/*`` (``valid`` and ``validation`` mean ``val``): ``test`` may
      be missing; without ``val`` the images in ``train`` are split; to evaluate, ``val`` or
      ``test`` alone is enough.

    Where class folders look like splits, such as ``Training`` and ``Testing``, it stops and names
    the options that settle it. To predict, ``root`` is any folder, flat or nested, a single file,
    or ``-`` for the paths on standard input, one on each line. Hidden files, folders of a system,
    such as ``@eaDir``, and files with other suffixes than those of images are left out.

    Args:
        root: The folder.
        split_folders: The folder of each split, relative to the root, such as ``{train: Training,
            test: Testing}``; ``None`` to find them by their names. With ``class_names`` that are
            the names of all folders, none is taken for a split.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("ants/1", "ants/2", "bees/1", "bees/2"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     Image.new("RGB", (8, 8)).save(root / f"{name}.png")
        >>> print(ImageFolderDataModule(root).summary())
        images: 2 train, 2 val, 2 classes (ants 1, bees 1)
    """

    objectives: ClassVar = ("single_label",)
    remedies: ClassVar = {
        "train": "Give a folder with one folder of images for each class, or with train/ and val/.",
        "val": "Put them into a folder val/<class>/, beside train/.",
        "test": "Put them into a folder test/<class>/, or use `tltool validate`.",
    }

    def __init__(
        self,
        root: str | Path,
        *,
        split_folders: dict[str, str] | None = None,
        **options: Unpack[FileOptions],
    ) -> None:
        super().__init__(**options)
        self.root = as_root(root)
        self.split_folders = split_folders
        self.set_source(os.path.basename(os.path.abspath(self.root)), f"'{self.root}'")

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The classes of ``train``, or else of the first split there is."""
        return list(self._found[next(iter(self._found))])

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`. Names are paths from the class folder on, wherever that lies."""
        depths = {split: len(folder.parts) for split, folder in self._folders.items()}
        return [
            ImageRecord(str(path), "/".join(path.parts[depths[split] :]), label, split)
            for split, classes in self._found.items()
            for label, paths in classes.items()
            for path in paths
        ]

    def find_unlabeled(self) -> Samples:
        """Return every image in ``root``, sorted by path, or ``root`` itself if it is a file."""
        if str(self.root) == STANDARD_INPUT:
            found = read_paths(sys.stdin.buffer, allow_missing=self.broken_files == "skip")
            return Samples(self.without_broken(found))
        if self.root.is_file():
            return Samples([str(self.root)])
        check_folder(self.root)
        paths = self.without_broken([str(path) for path in list_images(self.root)])
        if not paths:
            raise FileNotFoundError(f"'{self.root}' has no images. {describe_files(self.root)}")
        return Samples(paths)

    def known_labels(self) -> dict[str, str]:
        """See `ImageDataModule`: an image to predict has the class whose folder it is in."""
        if self.given_class_names is None:
            return super().known_labels()
        if str(self.root) == STANDARD_INPUT:  # No folder says which of those above are classes.
            return {}
        known = frozenset(self.class_names)
        named = ((path, self._class_above(path, known)) for path in self.unlabeled.paths)
        return {path: name for path, name in named if name}

    def _class_above(self, path: str, known: Collection[str]) -> str | None:
        """Return the class whose folder an image is in; folders above the root say nothing."""
        folders = map(class_name, Path(path).relative_to(self.root).parents)
        named = [name for name in folders if name in known]
        if len(named) > 1 and named[-1].lower() in SPLIT_NAMES:  # a split that is a class, too
            named.pop()
        return named[-1] if named else None

    @functools.cached_property
    def _folders(self) -> dict[str, Path]:
        return find_split_folders(self.root, self.split_folders)

    @functools.cached_property
    def _found(self) -> dict[str, Found]:
        return find_images(self.root, self._folders, known=self.given_class_names or ())
