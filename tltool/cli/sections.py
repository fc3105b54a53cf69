"""The options that fit, plan, doctor, compare and features share, each section declared once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm.optim  # noqa: F401  # so that its optimizers are found by name
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from tltool.cli.parser import Classes, Parser
from tltool.cli.signature_options import add_options_of
from tltool.cli.trainer_section import read_whole_numbers_first_
from tltool.data.datamodules.digits import DigitsDataModule
from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.hf_dataset import HFDataModule
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.data.datamodules.torchvision_datasets import TorchvisionDataModule
from tltool.finetuning.strategies import STRATEGIES, FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.reporting.wandb.logger import wandb_logger
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.health_monitor import HealthMonitor
from tltool.training.callbacks.signal_stop import GRACE_PERIOD
from tltool.training.image_task import ImageTask
from tltool.training.task_optimizer import OptimizerFactory

DATAMODULES = (
    DigitsDataModule,
    ELPVDataModule,
    HFDataModule,
    ImageFolderDataModule,
    ManifestDataModule,
    TorchvisionDataModule,
)
HEAD = f"{Head.__module__}.{Head.__qualname__}"

DEFAULTS: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("fit_defaults.yaml").read_text(encoding="utf-8")
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run as a whole.

    Args:
        seed_everything: Seed of all random numbers; true for a random one, false for none.
        run_dir: Directory of this run, instead of a new one: created if it is not there, else the
            run in it goes on from its newest checkpoint, or is left as it is if it is over.
        runs_dir: Runs lie in <runs_dir>/<name>/<n>.
        name: Name of the run; null for the data's name.
        budget: Time that training may take, such as 10m, if the strategy is Auto: max_epochs
            follows from measured steps. The run keeps that, and a resumed one too.
        monitor: Metric that chooses best.ckpt, such as val/f1; null for val/accuracy (of
            several classes val/map, of numbers val/mae), or for the macro F1 where the strategy is
            Auto and classes are unbalanced.
        calibrate: Fit a temperature at the end (Guo et al., 2017), so that probabilities agree with
            how often they are right: on the images that validate, at least 100. It is kept in
            best.ckpt, changes no class, and is left out where it does not help. From the same
            images, at least 20, come limits: what is unlike all classes, and prediction sets.
        save_every_n_steps: Write last.ckpt in the middle of an epoch too; null for at its end
            only.
        save_every: Write last.ckpt after so much time too, such as 10m; null for never.
        grace_period: Time between a signal and the kill, such as 120s with Slurm's
            --signal=USR2@120. A warning says where saving takes longer.
        ckpt_path: Checkpoint to resume from, such as last.ckpt; auto for the newest whole one of
            run_dir, if there is one.
    """

    seed_everything: bool | int = 0
    run_dir: str | None = None
    runs_dir: str = "runs"
    name: str | None = None
    budget: str | None = None
    monitor: str | None = None
    calibrate: bool = True
    save_every_n_steps: int | None = None
    save_every: str | None = None
    grace_period: str = GRACE_PERIOD
    ckpt_path: str | None = None


def add_data(parser: Parser) -> None:
    """Add the section ``data``: any child of `ImageDataModule`."""
    parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True)


def add_finetuning(parser: Parser) -> None:
    """Add the section ``finetuning``: any strategy."""
    parser.add_subclass_arguments(FinetuningStrategy, "finetuning", required=False)


def add_optimizer(parser: Parser) -> None:
    """Add the section ``optimizer``: a class that is made when its parameters are there."""
    option = parser.add_argument(
        "--optimizer", type=OptimizerFactory, help="A class of torch.optim or timm.optim."
    )
    # A class of one's own seldom has a type at `params`, which files would be refused for.
    option.sub_add_kwargs = {"fail_untyped": False}


def known_classes() -> Classes:
    """Return the classes that each section accepts by short name, for errors and help."""
    return {
        "model.backbone": (Backbone,),
        "model.head": (Head,),
        "data": DATAMODULES,
        "optimizer": tuple(_optimizers(Optimizer)),
        "finetuning": STRATEGIES,
        "trainer.callbacks": _exported(lightning_callbacks, Callback),
        "trainer.logger": _exported(lightning_loggers, Logger),
    }


def experiment_parser(command: str, classes: Classes | None = None) -> Parser:
    """Return the parser of a command that reads the configuration of ``fit``.

    Args:
        command: Its name, for the help.
        classes: Classes that its own options accept by short name.
    """
    parser = Parser(prog=f"tltool {command}", known_classes={**known_classes(), **(classes or {})})
    parser.add_argument("-c", "--config", action="config", help="A YAML file; later ones win.")
    read_whole_numbers_first_()
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(ImageTask, "model")
    add_data(parser)
    add_finetuning(parser)
    add_optimizer(parser)
    parser.add_function_arguments(wandb_logger, "wandb", skip={"run_dir"})
    parser.add_class_arguments(FeatureCaching, "features")
    parser.add_class_arguments(HealthMonitor, "health")
    parser.add_class_arguments(Ending, "ending")
    add_options_of(RunOptions, parser)
    _link(parser)
    parser.set_defaults(DEFAULTS)
    return parser


def _link(parser: Parser) -> None:
    """Keep any value from being given twice: what one section knows, the others are told."""
    parser.link_arguments("optimizer", "model.optimizer")
    parser.link_arguments("model.objective", "data.init_args.objective")
    for source, target, of in (
        ("model.backbone", "data.init_args.data_config", lambda backbone: backbone.data_config),
        ("data", "model.num_classes", lambda data: data.num_classes),
        ("data", "model.class_names", lambda data: data.class_names),
        ("data", "model.data_config", lambda data: data.resolved_data_config()),
        ("data", "model.class_counts", lambda data: data.drawn_class_counts),
        ("data", "model.num_images", lambda data: len(data.samples("train"))),
        (
            "data",
            "model.target_stats",
            lambda data: data.target_stats and data.target_stats.plain(),
        ),
    ):
        parser.link_arguments(source, target, of, apply_on="instantiate")


def _optimizers(cls: type[Any]) -> set[type[Any]]:
    ours = ("torch.optim", "timm.optim")
    found = {child for child in cls.__subclasses__() if child.__module__.startswith(ours)}
    return found.union(*(_optimizers(child) for child in found))


def _exported(module: Any, base: type[Any]) -> tuple[type[Any], ...]:
    """Return the classes that a module of Lightning offers."""
    found = (getattr(module, name) for name in module.__all__)
    return tuple(cls for cls in found if issubclass(cls, base) and cls is not base)
