"""`tltool features compute` and `verify`: from the configuration of ``fit``."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jsonargparse import Namespace

from tltool._plain_text import one_line
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.frozen_backbone import (
    FROZEN_BACKBONE,
    features_of,
    set_up_frozen_backbone,
    split_names,
)
from tltool.data.datamodules.image_datamodule import SplitName
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.labels import label_text
from tltool.features.feature_table import FeatureSplit, check_table_path, write_features
from tltool.features.verification import Verification, verify_features


def main(action: str, words: Sequence[str]) -> int:
    """Run ``tltool features compute`` or ``verify``."""
    run, check = (compute, _check_table) if action == "compute" else (verify, None)
    command = f"features {action}"
    return run_experiment(command, words, run, check=check, defaults=FROZEN_BACKBONE)


def _check_table(config: Namespace) -> None:
    if config.to is None:
        return
    check_table_path(_table_path(config.to))
    if config.num_views:
        raise ValueError(
            "A table has one row for each image, and `num_views` makes several. Leave one out."
        )


def _table_path(to: str) -> Path:
    """Return the file of a table: of ``parquet`` alone, one in the working directory."""
    return Path("features.parquet" if to == "parquet" else to).expanduser()


def compute(
    experiment: Experiment,
    *,
    cache: Path | None = None,
    num_views: int = 0,
    to: str | None = None,
) -> None:
    """Compute the features of your images that are missing, and say where they are.

    Args:
        experiment: The backbone and the images.
        cache: Directory of the cache; without it TLTOOL_CACHE, or ~/.cache/tltool/features.
        num_views: Augmented views of each training image; 0 for the image as it is.
        to: Write them as a table too, such as features.parquet: path, split, label and features of
            each image.
    """
    options = set_up_frozen_backbone(experiment, cache)
    print(f"data      {one_line(experiment.data.summary())}")
    table = dict[str, FeatureSplit]()
    for split, images, views in _splits(experiment, num_views):
        start = time.monotonic()
        features = features_of(experiment, images, num_views=views, **options)
        place = (
            f"in '{one_line(features.store.directory)}'" if features.store.is_on_disk else "nowhere"
        )
        in_views = f" in {views} views" if views > 1 else ""
        print(
            f"{split:<9} {len(features):,} images{in_views}, {features.num_computed:,} rows "
            f"computed in {time.monotonic() - start:.1f} s, kept {place}"
        )
        names = experiment.data.class_names
        labels = [label_text(label, names) for label in images.samples.labels or []]
        table[split] = FeatureSplit(images.samples.paths, labels, features)
    if to is not None:
        backbone = experiment.backbone
        facts = {"backbone": backbone.name, "weights": backbone.weights}
        path = _table_path(to)
        rows = write_features(path, table, facts=facts)
        print(f"table     {rows:,} rows in '{one_line(path)}'")


def verify(experiment: Experiment, *, cache: Path | None = None, num_views: int = 0) -> int:
    """Hash all images and features anew, compute some rows again; return 1 if any is wrong.

    Args:
        experiment: The backbone and the images.
        cache: Directory of the cache; without it TLTOOL_CACHE, or ~/.cache/tltool/features.
        num_views: Augmented views of each training image; 0 for the image as it is.
    """
    options = set_up_frozen_backbone(experiment, cache)
    print(f"data      {one_line(experiment.data.summary())}")
    results = []
    for split, images, views in _splits(experiment, num_views):
        results.append(verify_features(experiment.backbone, images, num_views=views, **options))
        print_verification(split, results[-1])
    return 0 if all(result.is_good for result in results) else 1


def _splits(
    experiment: Experiment, num_views: int
) -> Iterator[tuple[SplitName, ImageDataset, int]]:
    """Yield the splits that there are, and the number of views of each.

    Raises:
        ValueError: If several views are asked for of images that look the same in each.
    """
    is_random = experiment.data.transform(augment=True).is_random
    if num_views < 0 or (num_views and not is_random):
        raise ValueError(
            f"`num_views` must be at least 0, and above 0 only with augmentation, got {num_views}. "
            "Set --data.augmentation crop, or leave it out."
        )
    for name in split_names(experiment.data):
        augment = name == "train" and num_views > 0
        images = experiment.data.dataset(name, augment=augment)
        yield name, images, num_views if augment else 1


def print_verification(split: str, result: Verification) -> None:
    """Print what was found, and what to type where something is wrong."""
    print(
        f"{split:<9} {result.num_images:,} images hashed, {result.num_missing:,} without features; "
        f"{len(result.errors)} rows computed again differ by at most {result.largest_error:.1e}"
    )
    for message in result.damaged:
        print(
            f"damaged   {one_line(message)} It was removed; tltool features compute makes it again."
        )
    for file in result.changed:
        advice = "with its old size and dates. It is hashed anew from now on."
        print(f"changed   '{one_line(file)}', {advice}")
    if result.largest_error > result.tolerance:
        print(
            f"wrong     Rows differ by more than {result.tolerance:.0e}. Delete these features: "
            "tltool features prune NAME"
        )
