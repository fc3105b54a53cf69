"""The options that fit, plan, doctor, compare and features share, each section declared once."""

from collections.abc import Callable
from typing import Any

import timm.optim  # noqa: F401  # so that its optimizers are found by name
from lightning.pytorch import Callback, Trainer
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from tltool.cli.parser import Classes, Parser
from tltool.data import (  # noqa: F401  # so that the datamodules are found by name
    digits,
    elpv,
    folder,
    manifest,
    named,
)
from tltool.data.datamodule import ImageDataModule
from tltool.features.callback import FeatureCaching
from tltool.finetuning import partial_strategies  # noqa: F401  # so that these are found by name
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.models.heads import LinearHead, MLPHead
from tltool.monitoring.callback import HealthMonitor
from tltool.tasks.image_task import ImageTask, OptimizerFactory
from tltool.tracking.wandb_logger import wandb_logger

HEAD_CLASSES = (LinearHead, MLPHead)
HEAD = f"{MLPHead.__module__}.{MLPHead.__qualname__}"
# No hidden layers: a linear probe. `head: {hidden_features: [256]}` needs no class then.
HEAD_DEFAULT: dict[str, Any] = {"class_path": HEAD, "init_args": {"hidden_features": []}}

DEFAULTS: dict[str, Any] = {
    "model.backbone": {"class_path": "tltool.models.backbone.Backbone"},
    "model.head": HEAD_DEFAULT,
    "data": {"class_path": "tltool.data.folder.ImageFolderDataModule"},
    "optimizer": {
        "class_path": "torch.optim.AdamW",
        "init_args": {"lr": 1e-3, "weight_decay": 0.05},
    },
    "finetuning": {"class_path": "tltool.finetuning.strategies.LinearProbe"},
    "trainer.max_epochs": 10,
    "trainer.enable_model_summary": False,
}


def add_data(parser: Parser) -> None:
    """Add the section ``data``: any child of `ImageDataModule`."""
    parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True)


def add_finetuning(parser: Parser) -> None:
    """Add the section ``finetuning``: any strategy."""
    parser.add_subclass_arguments(FinetuningStrategy, "finetuning", required=False)


def add_optimizer(parser: Parser) -> None:
    """Add the section ``optimizer``: a class that is made when its parameters are there."""
    parser.add_argument(
        "--optimizer", type=OptimizerFactory, help="A class of torch.optim or timm.optim."
    )


def known_classes() -> Classes:
    """Return the classes that each section accepts by short name, for errors and help."""
    return {
        "model.backbone": (Backbone,),
        "model.head": HEAD_CLASSES,
        "data": tuple(ImageDataModule.__subclasses__()),
        "optimizer": tuple(_optimizers(Optimizer)),
        "finetuning": tuple(FinetuningStrategy.__subclasses__()),
        "trainer.callbacks": _exported(lightning_callbacks, Callback),
        "trainer.logger": _exported(lightning_loggers, Logger),
    }


def experiment_parser(
    command: str,
    add_options: Callable[[Parser], None] | None = None,
    classes: Classes | None = None,
) -> Parser:
    """Return the parser of a command that reads the configuration of ``fit``.

    Args:
        command: Its name, for the help.
        add_options: Adds what the command asks beside that configuration.
        classes: Classes that its own sections accept by short name.
    """
    parser = Parser(prog=f"tltool {command}", known_classes={**known_classes(), **(classes or {})})
    parser.add_argument("-c", "--config", action="config", help="A YAML file; later ones win.")
    parser.add_argument(
        "--seed_everything",
        type=bool | int,
        default=0,
        help="Seed of all random numbers; true for a random one, false for none.",
    )
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(ImageTask, "model")
    add_data(parser)
    add_finetuning(parser)
    add_optimizer(parser)
    parser.add_function_arguments(wandb_logger, "wandb", skip={"run_folder"})
    parser.add_class_arguments(FeatureCaching, "features")
    parser.add_class_arguments(HealthMonitor, "health")
    _add_run_options(parser)
    _link(parser)
    parser.set_defaults(DEFAULTS)
    if add_options is not None:
        add_options(parser)
    return parser


def _add_run_options(parser: Parser) -> None:
    parser.add_argument("--runs_dir", default="runs", help="Runs lie in <runs_dir>/<name>/<n>.")
    parser.add_argument(
        "--name", type=str | None, help="Name of the run; null for the data's name."
    )
    parser.add_argument(
        "--save_every_n_steps",
        type=int | None,
        help="Write last.ckpt in the middle of an epoch too; null for at its end only.",
    )
    parser.add_argument(
        "--ckpt_path", type=str | None, help="Checkpoint to resume from, such as last.ckpt."
    )


def _link(parser: Parser) -> None:
    """Keep any value from being given twice: what one section knows, the others are told."""
    parser.link_arguments("optimizer", "model.optimizer")
    for source, target, of in (
        ("model.backbone", "data.init_args.data_config", lambda backbone: backbone.data_config),
        ("data", "model.num_classes", lambda data: data.num_classes),
        ("data", "model.class_names", lambda data: data.class_names),
        ("data", "model.data_config", lambda data: data.resolved_data_config()),
        ("data", "model.class_counts", lambda data: data.train_class_counts),
    ):
        parser.link_arguments(source, target, of, apply_on="instantiate")


def _optimizers(cls: type[Any]) -> set[type[Any]]:
    found = {
        child
        for child in cls.__subclasses__()
        if child.__module__.startswith(("torch.optim", "timm.optim"))
    }
    return found.union(*(_optimizers(child) for child in found))


def _exported(module: Any, base: type[Any]) -> tuple[type[Any], ...]:
    """Return the classes that a module of Lightning offers."""
    found = (getattr(module, name) for name in module.__all__)
    return tuple(cls for cls in found if issubclass(cls, base) and cls is not base)
