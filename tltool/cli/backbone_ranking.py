"""The ranking of `tltool backbones --rank`: frozen features, a closed-form probe and LogME."""

import logging
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from tltool.cli.backbones import place_of, short_count
from tltool.cli.process import set_up_process
from tltool.data.datamodule import ImageDataModule
from tltool.data.folder import ImageFolderDataModule
from tltool.data.manifest import ManifestDataModule
from tltool.data.samples import Samples, Splits
from tltool.data.split import split_stratified
from tltool.diagnosis.suitability import Suitability, measure_suitability
from tltool.features.extract import extract_features
from tltool.models.at_hand import WeightsAtHand
from tltool.models.backbone import Backbone


class Ranked(NamedTuple):
    """A backbone and how well it suits the photos.

    Attributes:
        at_hand: The backbone and where its weights are.
        num_parameters: Its size, without the classifier.
        img_size: Height and width of the photos that it sees, in pixels.
        photos_per_second: How fast it was, the decoding of the photos included.
        suitability: See `Suitability`.
    """

    at_hand: WeightsAtHand
    num_parameters: int
    img_size: int
    photos_per_second: float
    suitability: Suitability


def rank_and_print(candidates: Sequence[WeightsAtHand], data: str, *, max_photos: int) -> int:
    """Rank backbones on photos and print the table, the best first.

    Args:
        candidates: The backbones.
        data: A folder of photos, or a table of their paths and labels.
        max_photos: The most photos of each part to look at.
    """
    set_up_process()
    logging.getLogger("tltool").setLevel(logging.WARNING)  # The table says what was loaded.
    source = open_data(data)
    source.splits = smaller_splits(source, max_photos)
    print(f"data     {source.summary()}")
    ranked = sorted(
        rank(candidates, source), key=lambda one: one.suitability.accuracy, reverse=True
    )
    if not ranked:
        print("error: No backbone could be used; see above.", file=sys.stderr)
        return 1
    Console(markup=False, highlight=False).print(ranking_table(ranked))
    best = ranked[0]
    print("accuracy of a closed-form probe on the validation photos; LogME on the training photos")
    print(
        f"use      tltool fit --model.backbone.name {best.at_hand.name} "
        f"--model.backbone.weights {best.at_hand.weights}{_data_flag(data)}"
    )
    return 0


def _data_flag(data: str) -> str:
    if Path(data).expanduser().is_dir():
        return f" --data.root {data}"
    return f" --data ManifestDataModule --data.manifest {data}"


def rank(candidates: Iterable[WeightsAtHand], data: ImageDataModule) -> list[Ranked]:
    """Return how well each backbone suits the photos; what cannot be loaded is said and left out.

    Each backbone gets its own preprocessing. The data module's ``data_config`` is that of the last.

    Args:
        candidates: The backbones.
        data: The photos, with parts that train and validate.
    """
    ranked = []
    for at_hand in candidates:
        try:
            backbone = Backbone(at_hand.name, at_hand.weights)
        except (ValueError, OSError) as error:
            print(f"left out: {at_hand.name} ({at_hand.weights}): {error}", file=sys.stderr)
            continue
        ranked.append(_rank_one(at_hand, backbone, data))
    return ranked


def _rank_one(at_hand: WeightsAtHand, backbone: Backbone, data: ImageDataModule) -> Ranked:
    data.data_config = backbone.data_config
    start, count, found = time.perf_counter(), 0, {}
    for part in ("train", "val"):
        loader = data.evaluation_dataloader(part)
        found[part] = extract_features(
            backbone, loader, description=f"{at_hand.name}, {part} photos", total=len(loader)
        )
        count += len(found[part][1])
    seconds = time.perf_counter() - start
    return Ranked(
        at_hand,
        sum(parameter.numel() for parameter in backbone.parameters()),
        backbone.data_config["input_size"][-1],
        count / seconds,
        measure_suitability(found["train"], found["val"], data.num_classes),
    )


def ranking_table(ranked: Sequence[Ranked]) -> Table:
    """Return the table of a ranking, in the order given."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("backbone", no_wrap=True, min_width=max(len(o.at_hand.name) for o in ranked))
    for name in ("from", "params", "px", "photos/s", "accuracy", "LogME"):
        table.add_column(name, no_wrap=True, justify="left" if name == "from" else "right")
    for one in ranked:
        suitability = one.suitability
        table.add_row(
            one.at_hand.name,
            place_of(one.at_hand.weights),
            short_count(one.num_parameters),
            str(one.img_size),
            f"{one.photos_per_second:.0f}",
            f"{suitability.accuracy:.3f} +- {suitability.standard_error:.3f}",
            f"{suitability.logme:.3f}",
        )
    return table


def open_data(data: str) -> ImageDataModule:
    """Return the photos of a folder, or of a table if it is a file.

    Raises:
        FileNotFoundError: If there is neither.
    """
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"There is no folder or table '{path}'. Name a folder with one folder of photos for "
            "each class, or a CSV, TSV or Parquet file with columns path and label."
        )
    return ManifestDataModule(path) if path.is_file() else ImageFolderDataModule(path)


def smaller_splits(data: ImageDataModule, max_photos: int) -> Splits:
    """Return at most so many training and validation photos, of each class the same share.

    Raises:
        ValueError: If there would not be two photos of each class.
    """
    if max_photos < 2 * data.num_classes:
        raise ValueError(
            f"{max_photos} photos are too few for {data.num_classes} classes. Set --photos "
            f"{20 * data.num_classes}."
        )
    return Splits(
        train=_smaller(data.samples("train"), max_photos),
        val=_smaller(data.samples("val"), max_photos),
    )


def _smaller(samples: Samples, max_photos: int) -> Samples:
    if len(samples) <= max_photos:
        return samples
    share = {"kept": max_photos / len(samples)}
    parts = split_stratified(samples.paths, samples.labels or [], share, seed=0)
    return samples.subset(parts["kept"])
