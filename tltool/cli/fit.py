"""The LightningCLI behind `tltool fit`: a run from YAML, flags, or nothing but a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import timm.optim  # noqa: F401  # so that its optimizers are found by name
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from torch import nn
from torch.optim import Optimizer

from tltool.cli.memory import is_out_of_memory, out_of_memory_advice
from tltool.cli.parser import Parser
from tltool.cli.short_yaml import short_yaml
from tltool.cli.terminal import set_up_process
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
from tltool.finetuning.callback import Finetuning
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.models.backbone import Backbone, find_group_names
from tltool.models.heads import LinearHead, MLPHead
from tltool.monitoring.callback import HealthMonitor
from tltool.tasks.image_task import ImageTask, OptimizerFactory
from tltool.tracking.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from tltool.tracking.csv_metrics import CSVMetrics
from tltool.tracking.epoch_lines import EpochLines
from tltool.tracking.run_folder import create_run_folder, resumed_run_folder
from tltool.tracking.run_logger import RunLogger, find_logger, finish
from tltool.tracking.wandb_callback import WandbTracking
from tltool.tracking.wandb_logger import wandb_logger

FIT_DEFAULTS: dict[str, Any] = {
    "model.backbone": {"class_path": "tltool.models.backbone.Backbone"},
    # No hidden layers: a linear probe. `head: {hidden_features: [256]}` needs no class then.
    "model.head": {
        "class_path": "tltool.models.heads.MLPHead",
        "init_args": {"hidden_features": []},
    },
    "data": {"class_path": "tltool.data.folder.ImageFolderDataModule"},
    "optimizer": {
        "class_path": "torch.optim.AdamW",
        "init_args": {"lr": 1e-3, "weight_decay": 0.05},
    },
    "finetuning": {"class_path": "tltool.finetuning.strategies.LinearProbe"},
    "trainer.max_epochs": 10,
    "trainer.enable_model_summary": False,
}


class FitCLI(LightningCLI):
    """Build backbone, data, task and trainer from one configuration, in this order, and fit."""

    command = "fit"
    #: Classes that sections of this command alone accept by short name.
    own_classes: ClassVar[dict[str, tuple[type[Any], ...]]] = {}

    def __init__(self, args: Sequence[str]) -> None:
        self.shows_yaml = not any(arg.startswith(("-c", "--config")) for arg in args)
        super().__init__(
            ImageTask,
            ImageDataModule,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=SaveConfigCallback,
            parser_class=Parser,
            parser_kwargs={"prog": "tltool", "fit": {"prog": f"tltool {self.command}"}},
            load_from_checkpoint_support=False,  # The task stores its own recipe.
            args=list(args),
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments, not those of the process.

        ``fit`` may be called from Python too.
        """
        self.config = parser.parse_args(args)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the one subcommand and the arguments of ``Trainer.fit`` that it sets itself."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add tltool's sections, and the links that keep any value from being given twice."""
        parser.add_subclass_arguments(FinetuningStrategy, "finetuning", required=False)
        parser.add_argument(
            "--optimizer", type=OptimizerFactory, help="A class of torch.optim or timm.optim."
        )
        parser.add_function_arguments(wandb_logger, "wandb", skip={"run_folder"})
        parser.add_class_arguments(FeatureCaching, "features")
        parser.add_class_arguments(HealthMonitor, "health")
        parser.add_argument("--runs_dir", default="runs", help="Runs lie in <runs_dir>/<name>/<n>.")
        parser.add_argument(
            "--name", type=str | None, help="Name of the run; null for the data's name."
        )
        parser.add_argument(
            "--save_every_n_steps",
            type=int | None,
            help="Write last.ckpt in the middle of an epoch too; null for at its end only.",
        )
        parser.link_arguments("optimizer", "model.optimizer")
        parser.link_arguments(
            "model.backbone",
            "data.init_args.data_config",
            lambda backbone: backbone.data_config,
            "instantiate",
        )
        parser.link_arguments(
            "data", "model.num_classes", lambda data: data.num_classes, "instantiate"
        )
        parser.link_arguments(
            "data", "model.class_names", lambda data: data.class_names, "instantiate"
        )
        parser.link_arguments(
            "data", "model.data_config", lambda data: data.resolved_data_config(), "instantiate"
        )
        parser.link_arguments(
            "data", "model.class_counts", lambda data: data.train_class_counts, "instantiate"
        )
        parser.set_defaults(FIT_DEFAULTS)

    def before_instantiate_classes(self) -> None:
        """Resume from a file only, unpickling nothing but tensors and plain data."""
        config = self.config[self.subcommand]
        config["weights_only"] = True
        if config["ckpt_path"] is not None and not Path(config["ckpt_path"]).is_file():
            raise FileNotFoundError(
                f"There is no checkpoint {config['ckpt_path']!r} to resume from. Name a file, for "
                "example runs/photos/0/checkpoints/last.ckpt."
            )
        self._check_schedule()

    def _check_schedule(self) -> None:
        """Refuse phases that cannot be, before weights are loaded and photos are listed."""
        config = self.config[self.subcommand]
        section = Parser()
        section.add_subclass_arguments(FinetuningStrategy, "finetuning")
        chosen = section.parse_object({"finetuning": config["finetuning"].as_dict()})
        strategy: FinetuningStrategy = section.instantiate(chosen).finetuning
        max_epochs = config["trainer"]["max_epochs"]
        if config["trainer"]["fast_dev_run"] or max_epochs is None or max_epochs < 0:
            return  # `Finetuning` says what is wrong, if anything is.
        backbone = config["model"]["backbone"]["init_args"]
        options = {key: backbone[key] for key in ("name", "in_chans", "img_size", "stop_at")}
        groups = [*(f"backbone.{group}" for group in find_group_names(**options)), "head"]
        strategy.resolved_schedule(groups, max_epochs)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the run's folder, loggers and callbacks, and the trainer with them."""
        config = self.config_init[self.subcommand]
        resumed = resumed_run_folder(config["ckpt_path"])
        if resumed is not None:  # Its config.yaml is there already.
            self.save_config_kwargs["overwrite"] = True
        self.run_folder = resumed or create_run_folder(
            config["runs_dir"], config["name"] or self.datamodule.name or "run"
        )
        loggers = [CSVMetrics(self.run_folder), wandb_logger(self.run_folder, **config["wandb"])]
        trainer = config["trainer"]
        kwargs |= {
            "logger": [*filter(None, loggers), *_as_list(trainer.get("logger"))],
            "callbacks": [
                Finetuning(config["finetuning"]),
                config["features"],
                config["health"],
                WandbTracking(),
                BestCheckpoint(self.run_folder / "checkpoints"),
                LastCheckpoint(self.run_folder / "checkpoints", config["save_every_n_steps"]),
                EpochLines(),
                *_as_list(trainer.get("callbacks")),
            ],
            "plugins": [AtomicCheckpointIO(), *_as_list(trainer.get("plugins"))],
        }
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            raise ValueError(f"The trainer section cannot be used here: {error}") from error

    def before_fit(self) -> None:
        """Say what will be trained, before it takes time."""
        if not self.trainer.is_global_zero:
            return
        backbone, task = self.model.backbone, self.model
        logger = find_logger(self.trainer)
        if isinstance(logger, RunLogger):
            print(f"wandb     {logger.describe()}")
        print(
            f"backbone  {backbone.name}, weights {backbone.weights}, "
            f"{task.data_config['input_size'][-1]} px, {_count(backbone):,} parameters"
        )
        print(f"head      {type(task.head).__name__}, {_count(task.head):,} parameters")
        print(f"data      {self.datamodule.summary()}")
        print(f"run       {self.run_folder}")
        if self.shows_yaml:
            config = self.config[self.subcommand].as_dict()
            text = short_yaml(config, backbone.weights, FIT_DEFAULTS)
            print("\nThis run as YAML, to keep and change (tltool fit --config FILE):")
            print(text)

    def after_fit(self) -> None:
        """Say what came out and what to type next."""
        finish(self.trainer)
        is_try = self.trainer.fast_dev_run  # type: ignore[attr-defined]  # Trainer sets it
        if not self.trainer.is_global_zero or is_try:
            return
        checkpoint = self.trainer.checkpoint_callback
        assert isinstance(checkpoint, BestCheckpoint)  # noqa: S101  # instantiate_trainer put it there
        best = self.run_folder / "checkpoints" / "best.ckpt"
        if checkpoint.best_model_score is not None:
            print(f"\nbest {checkpoint.monitor} {checkpoint.best_model_score:.4f}: {best}")
        print(f"look     tltool report {self.run_folder}")
        print(f"predict  tltool predict --ckpt_path {best} --data.root FOLDER")


def _as_list(value: Any) -> list[Any]:
    # `logger: false` turns off only what would be added.
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list) else [value]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _all_subclasses(cls: type[Any]) -> set[type[Any]]:
    found = {
        child
        for child in cls.__subclasses__()
        if child.__module__.startswith(("torch.optim", "timm.optim"))
    }
    return found.union(*(_all_subclasses(child) for child in found))


def run_cli(cli_class: type[FitCLI], argv: Sequence[str]) -> int:
    """Run a command that reads the configuration of ``fit``; ``argv`` begins with ``fit``."""
    set_up_process()
    Parser.known_classes = cli_class.own_classes | {
        "model.backbone": (Backbone,),
        "model.head": (LinearHead, MLPHead),
        "data": tuple(ImageDataModule.__subclasses__()),
        "optimizer": tuple(_all_subclasses(Optimizer)),
        "finetuning": tuple(FinetuningStrategy.__subclasses__()),
    }
    # LightningCLI runs in its constructor, and what it has parsed by then is needed.
    cli = cli_class.__new__(cli_class)
    try:
        cli.__init__(argv)  # type: ignore[misc]  # see above
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(out_of_memory_advice(cli.config["fit"].as_dict())) from error
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning makes one of the other.
            raise KeyboardInterrupt from None
        raise
    return 0


def main(argv: Sequence[str]) -> int:
    """Run ``tltool fit``."""
    return run_cli(FitCLI, argv)
