"""The ranking of `tltool backbones --rank`: frozen features, a closed-form probe and LogME."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tltool._plain_text import one_line, pixel_size, shell_command
from tltool.cli.backbone_cells import place_of, short_count
from tltool.cli.process import set_up_process
from tltool.cli.simple_table import print_simple_table
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.diagnostics.advice.backbone_ranking import RankedBackbone, rank_backbone, smaller_splits
from tltool.models.weights.local_weights import LocalWeights


def rank_and_print(candidates: Sequence[LocalWeights], data: str, *, max_images: int) -> None:
    """Rank backbones on images and print the table, the best first; say what cannot be loaded.

    Args:
        candidates: The backbones.
        data: A folder of images, or a table of their paths and labels.
        max_images: The most images of each split to look at.

    Raises:
        ValueError: If none of them can be used.
    """
    set_up_process()
    logging.getLogger("tltool").setLevel(logging.WARNING)  # The table says what was loaded.
    source = open_data(data)
    source.splits = smaller_splits(source, max_images)
    print(f"data     {one_line(source.summary())}")
    ranked = []
    for candidate in candidates:
        try:
            ranked.append(rank_backbone(candidate, source))
        except (ValueError, OSError) as error:
            left_out = f"left out: {candidate.name} ({candidate.weights}): {error}"
            print(one_line(left_out), file=sys.stderr)
    if not ranked:
        raise ValueError("No backbone could be used; see above.")
    ranked.sort(key=lambda one: one.suitability.order)
    _print_ranking(ranked)
    best = ranked[0].weights
    is_directory = Path(data).expanduser().is_dir()
    table = ("--data", "ManifestDataModule", "--data.manifest")
    flags = ("--data.root",) if is_directory else table
    chosen = ("--model.backbone.name", best.name, "--model.backbone.weights", best.weights)
    print("accuracy of a closed-form probe on the validation images; LogME on the training images")
    print(f"use      {shell_command('tltool', 'fit', *chosen, *flags, data)}")


def _print_ranking(ranked: Sequence[RankedBackbone]) -> None:
    rows = [
        (
            one.weights.name,
            place_of(one.weights.weights),
            short_count(one.num_parameters),
            pixel_size(one.input_size),
            f"{one.images_per_second:.0f}",
            f"{one.suitability.accuracy:.3f} +- {one.suitability.standard_error:.3f}",
            f"{one.suitability.logme:.3f}",
        )
        for one in ranked
    ]
    columns = ("backbone", "from", "params", "px", "images/s", "accuracy", "LogME")
    print_simple_table(columns, rows, numbers=columns[2:])


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
