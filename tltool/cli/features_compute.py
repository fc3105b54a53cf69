"""`tltool features compute` and `verify`: from the configuration of ``fit``."""

import sys
import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from tltool.cli.fit import FitCLI
from tltool.data.datamodule import Part
from tltool.data.dataset import ImageDataset
from tltool.data.workers import resolve_num_workers
from tltool.features.cache import Features, cached_features
from tltool.features.verify import Verification, verify_features

CACHE_HELP = "Folder of the cache; without it TLTOOL_CACHE, or ~/.cache/tltool/features."


class FeaturesCLI(FitCLI):
    """Build backbone and data from the configuration of ``fit``, and read or compute features."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is asked beside the configuration of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--cache", type=str | None, help=CACHE_HELP)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create a trainer that says only where to compute, and in which precision."""
        config = self.config_init["fit"]["trainer"]
        return Trainer(
            accelerator=config["accelerator"],
            devices=1,
            precision=config["precision"],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )

    def before_fit(self) -> None:
        """Move the backbone to where it computes."""
        config = self.config["fit"]
        self.model.backbone.to(self.trainer.strategy.root_device)
        self.trainer.precision_plugin.convert_module(self.model.backbone)
        self.options: dict[str, Any] = {
            "cache": config["cache"],
            "precision": str(self.trainer.precision),
            "show_progress": True,
        }
        self.datamodule.setup("fit")

    def features(self, photos: ImageDataset, *, num_views: int = 1) -> Features:
        """Return the features of photos; those that are not in the cache are computed."""
        return cached_features(
            self.model.backbone,
            photos,
            batch_size=self.datamodule.batch_size,
            num_workers=resolve_num_workers(self.datamodule.num_workers, 1),
            num_views=num_views,
            **self.options,
        )

    def part_names(self) -> list[Part]:
        """Return the parts that there are."""
        names: tuple[Part, ...] = ("train", "val", "test")
        return [name for name in names if getattr(self.datamodule.splits, name)]

    def after_fit(self) -> None:
        """Say nothing more; ``fit`` did."""


class ComputeCLI(FeaturesCLI):
    """Compute the features of all parts, and say where they are."""

    command = "features compute"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is asked beside the configuration of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--num-views",
            type=int,
            default=0,
            help="Augmented views of each training photo; 0 for the photo as it is.",
        )

    def before_fit(self) -> None:
        """Say what there is."""
        super().before_fit()
        self.num_views: int = self.config["fit"]["num_views"]
        print(f"data      {self.datamodule.summary()}")

    def fit(self, **kwargs: Any) -> None:
        """Compute what is missing of each part, and say where it is."""
        for part, photos, num_views in self.parts():
            start = time.monotonic()
            features = self.features(photos, num_views=num_views)
            place = f"in '{features.store.folder}'" if features.store.is_on_disk else "nowhere"
            views = f" in {features.num_views} views" if features.num_views > 1 else ""
            print(
                f"{part:<9} {len(features):,} photos{views}, {features.num_computed:,} rows "
                f"computed in {time.monotonic() - start:.1f} s, kept {place}"
            )

    def parts(self) -> list[tuple[Part, ImageDataset, int]]:
        """Return the parts that there are, and the number of views of each."""
        found = self.part_names()
        augmented = {name: name == "train" and self.num_views > 0 for name in found}
        return [
            (
                name,
                self.datamodule.dataset(name, augment=augmented[name]),
                self.num_views if augmented[name] else 1,
            )
            for name in found
        ]


class VerifyCLI(ComputeCLI):
    """Build what ``compute`` would, and look whether its features are right."""

    command = "features verify"

    def fit(self, **kwargs: Any) -> None:
        """Verify each part; end with status 1 if anything was wrong."""
        results = []
        for part, photos, num_views in self.parts():
            result = verify_features(
                self.model.backbone, photos, num_views=num_views, **self.options
            )
            print_verification(part, result)
            results.append(result)
        if not all(result.is_good for result in results):
            sys.exit(1)


def print_verification(part: str, result: Verification) -> None:
    """Print what was found, and what to type where something is wrong."""
    print(
        f"{part:<9} {result.num_photos:,} photos hashed, {result.num_missing:,} without features; "
        f"{result.num_sampled} rows computed again differ by at most {result.largest_error:.1e}"
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
