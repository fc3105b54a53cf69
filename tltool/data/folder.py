"""Photos in folders: one folder for each class, with or without train, val and test above them."""

import functools
from pathlib import Path
from typing import Any, Literal

from tltool.data.augmentation import Augmentation
from tltool.data.classes import check_class_names, check_class_sizes
from tltool.data.datamodule import ImageDataModule, Part
from tltool.data.layout import WHOLE, Found, describe_files, find_photos
from tltool.data.listing import check_folder, class_name, list_images
from tltool.data.preprocessing import Preprocessing
from tltool.data.samples import Samples, Splits, relabel
from tltool.data.split import split_stratified

_REMEDIES = {
    "train": "Give a folder with one folder of photos for each class, or with train/ and val/.",
    "val": "Put them into a folder val/<class>/, beside train/.",
    "test": "Put them into a folder test/<class>/, or use `tltool validate`.",
}


class ImageFolderDataModule(ImageDataModule):
    """Photos in one folder for each class.

    Two layouts are read, each with subfolders of any depth below the class:

    - ``root/<class>/*``: split by ``seed`` and ``val_fraction``, each class by the same fraction.
      ``validate`` finds the same validation photos again. There is no test part.
    - ``root/{train,val,test}/<class>/*`` (``valid`` and ``validation`` mean ``val``): ``test`` may
      be missing; without ``val`` the photos in ``train`` are split; to evaluate, ``val`` or
      ``test`` alone is enough.

    To predict, ``root`` is any folder, flat or nested, or a single file. Hidden files and files
    with other suffixes than those of photos are left out.

    Args:
        root: The folder.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for index in range(10):
        ...     folder = root / ["ants", "bees"][index % 2]
        ...     folder.mkdir(exist_ok=True)
        ...     Image.new("RGB", (8, 8)).save(folder / f"{index}.png")
        >>> print(ImageFolderDataModule(root).summary())
        photos: 8 train, 2 val, 2 classes (ants 4, bees 4)
    """

    def __init__(
        self,
        root: str | Path,
        *,
        batch_size: int = 32,
        num_workers: int | None = None,
        preprocessing: Preprocessing = "backbone",
        augmentation: Augmentation = "none",
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        broken_files: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        val_fraction: float = 0.2,
        data_config: dict[str, Any] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            preprocessing=preprocessing,
            augmentation=augmentation,
            random_erasing=random_erasing,
            mixup=mixup,
            cutmix=cutmix,
            broken_files=broken_files,
            seed=seed,
            val_fraction=val_fraction,
            data_config=data_config,
            class_names=class_names,
        )
        self.root = Path(root).expanduser()
        self.name = self.root.absolute().name

    @property
    def place(self) -> str:
        """The folder, for messages."""
        return f"'{self.root}'"

    def remedy(self, part: Part) -> str:
        """See `ImageDataModule`."""
        return _REMEDIES[part]

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The classes of ``train``, or else of the first part there is."""
        return list(self._found[next(iter(self._found))])

    def find_splits(self) -> Splits:
        """See `ImageDataModule`."""
        found = self._without_broken(self._found)
        for part, classes in found.items():
            check_class_names(list(classes), self.class_names, place=self.place, part=part)
        whole = next((part for part in (WHOLE, "train") if part in found), None)
        splits_itself = whole is not None and "val" not in found
        if whole:
            check_class_sizes(
                {name: len(paths) for name, paths in found[whole].items()},
                place=self.place,
                parts=("train", "val") if splits_itself else ("train",),
                expected=self.class_names,
            )
        parts = {part: self._samples(classes) for part, classes in found.items()}
        if whole and splits_itself:
            parts |= self._split(parts.pop(whole), depth=0 if whole == WHOLE else 1)
        self._warn_about_missing_classes(parts)
        return Splits(**parts)

    def find_unlabeled(self) -> Samples:
        """Return every photo in ``root``, sorted by path, or ``root`` itself if it is a file."""
        if self.root.is_file():
            return Samples([str(self.root)])
        check_folder(self.root)
        paths = self.without_broken([str(path) for path in list_images(self.root)])
        if not paths:
            raise FileNotFoundError(f"'{self.root}' has no photos. {describe_files(self.root)}")
        return Samples(paths)

    def known_labels(self) -> dict[str, str]:
        """See `ImageDataModule`: a photo to predict has the class whose folder it is in."""
        if self.given_class_names is None:
            return super().known_labels()
        named = ((path, self._class_above(path)) for path in self.find_unlabeled().paths)
        return {path: name for path, name in named if name}

    def _class_above(self, path: str) -> str | None:
        folders = (class_name(folder) for folder in Path(path).parents)
        return next((name for name in folders if name in self.class_names), None)

    @functools.cached_property
    def _found(self) -> dict[str, Found]:
        return find_photos(self.root)

    def _without_broken(self, found: dict[str, Found]) -> dict[str, Found]:
        listed = [paths for classes in found.values() for paths in classes.values()]
        kept = set(self.without_broken([str(path) for paths in listed for path in paths]))
        return {
            part: {
                name: [path for path in paths if str(path) in kept]
                for name, paths in classes.items()
            }
            for part, classes in found.items()
        }

    def _samples(self, classes: Found) -> Samples:
        names = [name for name, paths in classes.items() for _ in paths]
        paths = [str(path) for paths in classes.values() for path in paths]
        return Samples(paths, relabel(names, self.class_names))

    def _split(self, samples: Samples, *, depth: int) -> dict[str, Samples]:
        # Names from the class folder on: the split is the same wherever the classes lie.
        parts = [Path(path).relative_to(self.root).parts[depth:] for path in samples.paths]
        names = ["/".join(part) for part in parts]
        fractions = {"val": self.val_fraction}
        split = split_stratified(names, samples.labels or [], fractions, seed=self.seed)
        return {part: samples.subset(indices) for part, indices in split.items()}

    def _warn_about_missing_classes(self, parts: dict[str, Samples]) -> None:
        for part, samples in parts.items():
            counts = samples.class_counts(self.num_classes)
            missing = [
                name for name, count in zip(self.class_names, counts, strict=True) if not count
            ]
            if missing and samples:
                self.warn(
                    "The %s photos in '%s' have none of: %s.", part, self.root, ", ".join(missing)
                )
