"""Data sets that judge fine-tuning, each made once as a folder that every tool reads alike.

A set has `train` and `val` with a folder for each class. It is capped at 1,000 training and 600
validation images, drawn by class; nothing may be chosen on the validation images.
"""

import hashlib
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import fashion_mnist
from PIL import Image

from tltool.data.datamodules.digits import DigitsDataModule
from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.datamodules.image_folder import ImageFolderDataModule

NUM_TRAIN = 1000
NUM_VAL = 600


class Item(NamedTuple):
    """An image of a set.

    Attributes:
        name: Of its file.
        label: Its class.
        image: Where it lies, or its pixels.
    """

    name: str
    label: str
    image: Path | Image.Image


Splits = dict[str, list[Item]]
Folders = Mapping[str, Path]


class ImageSet(NamedTuple):
    """A data set.

    Attributes:
        source: What it is drawn from, see `SOURCES`.
        per_class: Training images of each class; ``None`` for all, up to the cap.
    """

    source: str
    per_class: int | None = None


def _folder_items(name: str, folders: Folders) -> Splits:
    if name not in folders:
        raise FileNotFoundError(
            f"No package brings the images of {name}. Say where they lie, with train and val: "
            f"--folders {name}=DIR"
        )
    data = ImageFolderDataModule(folders[name])
    return {split: _linked(data, split) for split in ("train", "val")}


def _linked(data: ImageDataModule, split: SplitName) -> list[Item]:
    samples = data.samples(split)
    return [
        Item(Path(path).name, data.class_names[label], Path(path).resolve())
        for path, label in zip(samples.paths, samples.labels or [], strict=True)
    ]


def _solar_items(name: str, _: Folders) -> Splits:
    """Return the cells by their defects, or by their kind; no module is in both splits."""
    cells = ELPVDataModule()
    splits = {"train": _linked(cells, "train")}
    splits["val"] = _linked(cells, "val") + _linked(cells, "test")
    if name == "solar":
        return splits
    package = distribution("elpv-dataset")
    table = Path(str(package.locate_file("elpv_dataset/data/labels.csv"))).read_text()
    kinds = {Path(path).name: kind for path, _, kind in map(str.split, table.splitlines())}
    return {
        split: [item._replace(label=kinds[item.name]) for item in items]
        for split, items in splits.items()
    }


def _digit_items(_: str, __: Folders) -> Splits:
    data = DigitsDataModule(test_fraction=0.2, val_fraction=0.2)
    found: Splits = {}
    for split, place in (("train", "train"), ("val", "val"), ("test", "val")):
        samples = data.samples(split)  # type: ignore[arg-type]
        found.setdefault(place, []).extend(
            Item(f"{Path(path).stem}.png", data.class_names[label], data.decoder(path))
            for path, label in zip(samples.paths, samples.labels or [], strict=True)
        )
    return found


def _fashion_items(name: str, folders: Folders) -> Splits:
    folder = folders.get(name, fashion_mnist.FOLDER)
    sources = {"train": "train", "val": "t10k"}
    return {
        split: [Item(*parts) for parts in fashion_mnist.images_of(source, folder)]
        for split, source in sources.items()
    }


SOURCES: dict[str, Callable[[str, Folders], Splits]] = {
    "hymenoptera": _folder_items,
    "brain_mri": _folder_items,
    "solar": _solar_items,
    "solar_kind": _solar_items,
    "digits": _digit_items,
    "fashion": _fashion_items,
}
SETS = {
    name if number is None else f"{name}_{number}": ImageSet(name, number)
    for number in (None, 10, 50)
    for name in SOURCES
}
TEN_SETS = (
    *SOURCES,
    *(f"{name}_{number}" for name in ("brain_mri", "fashion") for number in (10, 50)),
)
"""Those on which defaults were chosen; the others had no part in it."""


def make_set(
    name: str,
    folders: Folders,
    place: Path,
    *,
    num_train: int = NUM_TRAIN,
    num_val: int = NUM_VAL,
) -> Path:
    """Return the folder of a set; make it if it is not there.

    Args:
        name: See `SETS`.
        folders: Where images lie that no package brings, by source.
        place: Holds all sets.
        num_train: At most so many images train.
        num_val: At most so many images report.
    """
    folder = place / name
    if not folder.is_dir():
        source, per_class = SETS[name]
        splits = SOURCES[source](source, folders)
        train = drawn(splits["train"], num_train, per_class)
        write_set(folder, {"train": train, "val": drawn(splits["val"], num_val)})
    return folder


def drawn(items: Iterable[Item], at_most: int, per_class: int | None = None) -> list[Item]:
    """Return a random part of the images, the same one each time; each class has its share.

    Args:
        items: To draw from.
        at_most: The number of all images.
        per_class: The number in each class instead.
    """
    classes: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        classes[item.label].append(item)
    share = min(1.0, at_most / sum(map(len, classes.values())))
    found = []
    for label, members in sorted(classes.items()):
        number = int(share * len(members)) if per_class is None else per_class
        found += random.Random(label).sample(members, min(number, len(members)))  # noqa: S311
    return found


def write_set(folder: Path, splits: Splits) -> None:
    """Write the images of a set into a folder: links to those that are files, else PNG files."""
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for split, items in splits.items():
        for name, label, image in items:
            path = unfinished / split / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(image, Path):
                path.symlink_to(image)
            else:
                image.save(path)
    unfinished.rename(folder)


def fingerprint(folder: Path) -> str:
    """Return a hash of split, class and content of all images of a set."""
    lines = [
        f"{path.parent.relative_to(folder).as_posix()} {_hash(path.read_bytes())}"
        for path in folder.glob("*/*/*")
    ]
    return _hash("\n".join(sorted(lines)).encode())[:12]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def val_labels(folder: Path) -> dict[str, str]:
    """Return the class of each validation image by its path from `val` on, in order."""
    paths = sorted((folder / "val").glob("*/*"))
    return {f"{path.parent.name}/{path.name}": path.parent.name for path in paths}
