"""What `validate`, `test` and `predict` share: a checkpoint and data are all they need."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import docstring_parser
from jsonargparse import Namespace
from lightning.pytorch import Trainer

from tltool.cli.evaluation_trainer import check_devices, evaluation_trainer
from tltool.cli.parser import Parser
from tltool.cli.process import set_up_process
from tltool.cli.sections import DEFAULTS as FIT_DEFAULTS
from tltool.cli.sections import add_data, known_classes
from tltool.cli.short_forms import import_own_modules, rewrite
from tltool.cli.signature_options import add_options_of
from tltool.cli.task_labels import take_labels_
from tltool.cli.trainer_section import check_accelerator
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.rank_watch import RankWatch
from tltool.training.image_task import ImageTask
from tltool.training.split_facts import split_options


class Setup(NamedTuple):
    """The pieces of an evaluation."""

    ckpt_path: str
    task: ImageTask
    data: ImageDataModule
    trainer: Trainer
    ranks: RankWatch


DEFAULTS: dict[str, Any] = {
    "data": FIT_DEFAULTS["data"],
    "trainer.logger": False,
    "trainer.enable_checkpointing": False,
    "trainer.enable_model_summary": False,
    "trainer.devices": 1,
}


def run_evaluation(
    command: str,
    argv: Sequence[str],
    run: Callable[..., None],
    *,
    is_apart: bool = False,
) -> int:
    """Run a command on the task of a checkpoint and on data as the task needs them.

    Args:
        command: Its name.
        argv: What stands behind the name on the command line.
        run: What it does with the `Setup`. Its keywords are options, see `add_options_of`.
        is_apart: Each rank works for itself; else they are a group.
    """
    set_up_process()
    parser, options = _make_parser(command, run)
    words = rewrite(argv)
    parser.exit_with_asked_help(words)
    config = parser.parse_args(words)
    import_own_modules(modules=config.modules)
    launch = find_launch()
    check_accelerator(config.trainer.accelerator)
    check_devices(config.trainer)
    with RankWatch(launch) as ranks:
        task = ImageTask.load_from_checkpoint(config.ckpt_path)
        config.data.init_args.data_config = task.data_config
        take_split_(config.data, parser.parse_args(words, defaults=False), config.ckpt_path)
        made = parser.instantiate(config)
        take_labels_(made.data, task)
        trainer = evaluation_trainer(made.trainer, launch, is_apart=is_apart)
        setup = Setup(config.ckpt_path, task, made.data, trainer, ranks)
        run(setup, **{name: config[name] for name in options})
    return 143 if trainer.received_sigterm else 0  # Lightning notes the signal and goes on.


def take_split_(data: Namespace, given: Namespace, ckpt_path: str) -> None:
    """Let data be split as in the run of a checkpoint, in place, where nothing else is given.

    By other fractions or another seed, images that it has trained on would measure it.

    Args:
        data: The section of the configuration.
        given: What the command line and its files say, without defaults.
        ckpt_path: The checkpoint; one of a run from Python does not know its options.
    """
    known = split_options(read_checkpoint(ckpt_path, map_location="meta"))
    known.pop("tuning_fraction", None)  # The test images of a run are known by name: `as_tested`.
    for name, value in known.items():
        if name in data.init_args and given.get(f"data.init_args.{name}") is None:
            data.init_args[name] = value


def _make_parser(command: str, run: Callable[..., None]) -> tuple[Parser, list[str]]:
    """Return the parser of a command, and the names of the options that are its own."""
    parser = Parser(
        prog=f"tltool {command}",
        description=docstring_parser.parse(run.__doc__ or "").short_description,
        known_classes={"data": known_classes()["data"]},
    )
    parser.add_argument("-c", "--config", action="config", help="YAML with the options below.")
    parser.add_argument("--ckpt_path", required=True, type=str, help="Such as best.ckpt.")
    add_options_of(import_own_modules, parser)
    options = add_options_of(run, parser, skip={"setup"})
    add_data(parser)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.set_defaults(DEFAULTS)
    return parser, options
