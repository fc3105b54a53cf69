"""The ranking of `tltool backbones --rank`: frozen features, a closed-form probe and LogME."""

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tltool.cli.backbones import place_of, short_count
from tltool.cli.process import set_up_process
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.diagnostics.advice.backbone_ranking import RankedBackbone, rank_backbone, smaller_splits
from tltool.models.weights.local_weights import LocalWeights


def rank_and_print(candidates: Sequence[LocalWeights], data: str, *, max_images: int) -> int:
    """Rank backbones on images and print the table, the best first.

    Args:
        candidates: The backbones.
        data: A folder of images, or a table of their paths and labels.
        max_images: The most images of each part to look at.
    """
    set_up_process()
    logging.getLogger("tltool").setLevel(logging.WARNING)  # The table says what was loaded.
    source = open_data(data)
    source.splits = smaller_splits(source, max_images)
    print(f"data     {source.summary()}")
    ranked = sorted(
        rank(candidates, source), key=lambda one: one.suitability.accuracy, reverse=True
    )
    if not ranked:
        print("error: No backbone could be used; see above.", file=sys.stderr)
        return 1
    Console(markup=False, highlight=False).print(ranking_table(ranked))
    best = ranked[0]
    print("accuracy of a closed-form probe on the validation images; LogME on the training images")
    print(
        f"use      tltool fit --model.backbone.name {best.weights.name} "
        f"--model.backbone.weights {best.weights.weights}{_data_flag(data)}"
    )
    return 0


def _data_flag(data: str) -> str:
    if Path(data).expanduser().is_dir():
        return f" --data.root {data}"
    return f" --data ManifestDataModule --data.manifest {data}"


def rank(candidates: Iterable[LocalWeights], data: ImageDataModule) -> list[RankedBackbone]:
    """Return how well each backbone suits the images; what cannot be loaded is said and left out.

    See `rank_backbone`.
    """
    ranked = []
    for candidate in candidates:
        try:
            ranked.append(rank_backbone(candidate, data))
        except (ValueError, OSError) as error:
            name = f"{candidate.name} ({candidate.weights})"
            print(f"left out: {name}: {error}", file=sys.stderr)
    return ranked


def ranking_table(ranked: Sequence[RankedBackbone]) -> Table:
    """Return the table of a ranking, in the order given."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("backbone", no_wrap=True, min_width=max(len(o.weights.name) for o in ranked))
    for name in ("from", "params", "px", "images/s", "accuracy", "LogME"):
        table.add_column(name, no_wrap=True, justify="left" if name == "from" else "right")
    for one in ranked:
        suitability = one.suitability
        table.add_row(
            one.weights.name,
            place_of(one.weights.weights),
            short_count(one.num_parameters),
            str(one.img_size),
            f"{one.images_per_second:.0f}",
            f"{suitability.accuracy:.3f} +- {suitability.standard_error:.3f}",
            f"{suitability.logme:.3f}",
        )
    return table


def open_data(data: str) -> ImageDataModule:
    """Return the images of a folder, or of a table if it is a file.

    Raises:
        FileNotFoundError: If there is neither.
    """
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"There is no folder or table '{path}'. Name a folder with one folder of images for "
            "each class, or a CSV, TSV or Parquet file with columns path and label."
        )
    return ManifestDataModule(path) if path.is_file() else ImageFolderDataModule(path)
