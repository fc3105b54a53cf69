"""What `validate`, `test` and `predict` share: a checkpoint and data are all they need."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from tltool.cli.own_modules import import_own_modules, rewrite
from tltool.cli.parser import Parser
from tltool.cli.process import set_up_process
from tltool.cli.sections import add_data, known_classes
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.training.image_task import ImageTask


class Setup(NamedTuple):
    """The pieces of an evaluation."""

    task: ImageTask
    data: ImageDataModule
    trainer: Trainer
    config: Namespace


def checkpoint_parser(command: str, description: str) -> Parser:
    """Return a parser for ``--ckpt_path``, ``--data`` and ``--trainer``."""
    classes = {"data": known_classes()["data"]}
    parser = Parser(prog=f"tltool {command}", description=description, known_classes=classes)
    parser.add_argument("-c", "--config", action="config", help="YAML with the options below.")
    parser.add_argument(
        "--ckpt_path", required=True, type=str, help="Checkpoint file, such as best.ckpt."
    )
    parser.add_argument(
        "--modules",
        nargs="+",
        default=[],
        help="Your own modules whose classes the checkpoint needs, such as my_heads.",
    )
    add_data(parser)
    parser.add_lightning_class_args(Trainer, "trainer")
    defaults: dict[str, Any] = {
        "data": {"class_path": "tltool.data.datamodules.image_folder.ImageFolderDataModule"},
        "trainer.logger": False,
        "trainer.enable_checkpointing": False,
        "trainer.enable_model_summary": False,
        "trainer.devices": 1,
    }
    parser.set_defaults(defaults)
    return parser


def set_up(parser: Parser, argv: Sequence[str]) -> Setup:
    """Parse the arguments, rebuild the task, and make the data as the task needs it."""
    set_up_process()
    words = rewrite(argv)
    parser.exit_with_asked_help(words)
    config = parser.parse_args(words)
    import_own_modules(config.modules)
    task = ImageTask.load_from_checkpoint(config.ckpt_path)
    config.data.init_args.data_config = task.data_config
    config.data.init_args.class_names = task.class_names
    objects = parser.instantiate(config)
    return Setup(task, objects.data, Trainer(**objects.trainer), config)
