"""The frozen backbone of an experiment, on its device, and the features that it computes."""

from dataclasses import dataclass
from typing import Any, Self

from tltool.cli.build import Experiment
from tltool.cli.parser import Parser
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.num_workers import resolve_num_workers
from tltool.features.cache import Features, cached_features
from tltool.models.backbone import Backbone


@dataclass(frozen=True)
class FrozenBackbone:
    """A backbone where it computes, with what the cache of its features needs.

    Attributes:
        backbone: The network.
        data: Where its images come from.
        options: Cache, precision and progress, for `cached_features`.
    """

    backbone: Backbone
    data: ImageDataModule
    options: dict[str, Any]

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Move the backbone of an experiment to where it computes, and set its data up."""
        trainer = experiment.device_trainer(precision=experiment.config.trainer.precision)
        experiment.backbone.to(trainer.strategy.root_device)
        trainer.precision_plugin.convert_module(experiment.backbone)
        experiment.data.setup("fit")
        options = {
            "cache": experiment.config.cache,
            "precision": str(trainer.precision),
            "show_progress": True,
        }
        return cls(experiment.backbone, experiment.data, options)

    def features(self, images: ImageDataset, *, num_views: int = 1) -> Features:
        """Return the features of images; those that are not in the cache are computed."""
        return cached_features(
            self.backbone,
            images,
            batch_size=self.data.batch_size,
            num_workers=resolve_num_workers(self.data.num_workers, 1),
            num_views=num_views,
            **self.options,
        )


def add_cache(parser: Parser) -> None:
    """Add the option that says where features are kept."""
    parser.add_argument(
        "--cache",
        type=str | None,
        help="Directory of the cache; without it TLTOOL_CACHE, or ~/.cache/tltool/features.",
    )


def split_names(data: ImageDataModule) -> list[SplitName]:
    """Return the splits that there are."""
    names: tuple[SplitName, ...] = ("train", "val", "test")
    return [name for name in names if getattr(data.splits, name)]
