"""`tltool features compute` and `verify`: from the configuration of ``fit``."""

import time
from collections.abc import Iterator, Sequence

from tltool.cli.build import Experiment, run_experiment
from tltool.cli.frozen_backbone import FrozenBackbone, add_cache, split_names
from tltool.cli.parser import Parser
from tltool.data.datamodules.image_datamodule import SplitName
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.verification import Verification, verify_features


def main(action: str, words: Sequence[str]) -> int:
    """Run ``tltool features compute`` or ``verify``."""
    run = compute if action == "compute" else verify
    return run_experiment(f"features {action}", words, run, add_options=add_options)


def add_options(parser: Parser) -> None:
    """Add what is asked beside the configuration of ``fit``."""
    add_cache(parser)
    parser.add_argument(
        "--num_views",
        type=int,
        default=0,
        help="Augmented views of each training image; 0 for the image as it is.",
    )


def compute(experiment: Experiment) -> None:
    """Compute what is missing of each split, and say where it is."""
    backbone = FrozenBackbone.of(experiment)
    print(f"data      {experiment.data.summary()}")
    for split, images, num_views in _splits(experiment):
        start = time.monotonic()
        features = backbone.features(images, num_views=num_views)
        place = f"in '{features.store.directory}'" if features.store.is_on_disk else "nowhere"
        views = f" in {features.num_views} views" if features.num_views > 1 else ""
        print(
            f"{split:<9} {len(features):,} images{views}, {features.num_computed:,} rows "
            f"computed in {time.monotonic() - start:.1f} s, kept {place}"
        )


def verify(experiment: Experiment) -> int:
    """Look whether the features of each split are right; return 1 if anything was wrong."""
    backbone = FrozenBackbone.of(experiment)
    print(f"data      {experiment.data.summary()}")
    results = []
    for split, images, num_views in _splits(experiment):
        result = verify_features(
            experiment.backbone, images, num_views=num_views, **backbone.options
        )
        print_verification(split, result)
        results.append(result)
    return 0 if all(result.is_good for result in results) else 1


def _splits(experiment: Experiment) -> Iterator[tuple[SplitName, ImageDataset, int]]:
    """Yield the splits that there are, and the number of views of each."""
    num_views, data = experiment.config.num_views, experiment.data
    for name in split_names(data):
        augment = name == "train" and num_views > 0
        yield name, data.dataset(name, augment=augment), num_views if augment else 1


def print_verification(split: str, result: Verification) -> None:
    """Print what was found, and what to type where something is wrong."""
    print(
        f"{split:<9} {result.num_images:,} images hashed, {result.num_missing:,} without features; "
        f"{len(result.errors)} rows computed again differ by at most {result.largest_error:.1e}"
    )
    for message in result.damaged:
        print(f"damaged   {message} It was removed; tltool features compute makes it again.")
    for file in result.changed:
        print(f"changed   '{file}', with its old size and dates. It is hashed anew from now on.")
    if result.largest_error > result.tolerance:
        print(
            f"wrong     Rows differ by more than {result.tolerance:.0e}. Delete these features: "
            "tltool features prune NAME"
        )
