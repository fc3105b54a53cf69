"""From a parsed configuration to an `Experiment`: the one builder behind all commands."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import docstring_parser
from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer

from tltool.cli.auto_choice import fill_defaults, is_auto, with_choice
from tltool.cli.instantiation_errors import one_line_error
from tltool.cli.memory import is_out_of_memory, out_of_memory_advice
from tltool.cli.parser import Classes, Parser
from tltool.cli.process import set_up_process
from tltool.cli.resumed_config import plain_config
from tltool.cli.run_end import find_end
from tltool.cli.run_start import RunStart, begin
from tltool.cli.sections import add_data, add_finetuning, add_optimizer, experiment_parser
from tltool.cli.short_forms import rewrite
from tltool.cli.signature_options import add_options_of
from tltool.cli.trainer_section import (
    check_accelerator,
    max_steps,
    steps_per_epoch,
    world_size,
)
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import Auto, FinetuningStrategy
from tltool.models.backbone import Backbone
from tltool.models.class_paths import check_imported
from tltool.models.group_names import find_group_names
from tltool.models.layer_groups import layer_groups
from tltool.training.callbacks.early_end import ends_on_validation
from tltool.training.distributed.cluster_environment import evaluation_options
from tltool.training.image_task import ImageTask
from tltool.training.run_directory import create_run_dir, open_run_dir
from tltool.training.strategy_surgery import edit_for_strategy_
from tltool.training.task_optimizer import check_options

_SECTIONS = {"data": add_data, "finetuning": add_finetuning, "optimizer": add_optimizer}


@dataclass(frozen=True, eq=False)
class Experiment:
    """All objects of a run, made from one configuration.

    Attributes:
        parser: What has read the configuration, to write it down again.
        config: The configuration: plain values.
        made: The same with objects in the place of classes: loggers, callbacks, ...
        data: The images, with the backbone's preprocessing.
        task: Backbone and head.
        strategy: What trains, when and how fast.
        start: Where the run lies, and what it resumes.
        choice: The strategy that `Auto` has chosen, in words.
        has_measured_epochs: Whether the number of epochs follows from measured steps, which the
            ranks must agree on.
    """

    parser: Parser
    config: Namespace
    made: Namespace
    data: ImageDataModule
    task: ImageTask
    strategy: FinetuningStrategy
    start: RunStart
    choice: str | None = None
    has_measured_epochs: bool = False

    @property
    def backbone(self) -> Backbone:
        """The network in front of the head."""
        return self.task.backbone

    @property
    def plain_config(self) -> dict[str, Any]:
        """The configuration as plain data, as ``config.yaml`` holds it."""
        return plain_config(self.parser, self.config)

    @cached_property
    def schedule(self) -> Schedule:
        """The phases of the strategy for these layer groups and this number of epochs.

        Raises:
            ValueError: If they do not fit.
        """
        max_epochs = self.config.trainer.max_epochs
        return self.strategy.resolved_schedule(list(layer_groups(self.task)), max_epochs)

    @cached_property
    def run_dir(self) -> Path:
        """Where the run lies; it is created if it is not there."""
        config = self.config
        if self.start.run_dir is not None:
            return open_run_dir(self.start.run_dir)
        return create_run_dir(config.runs_dir, config.name or self.data.name or "run")

    @property
    def chooses_on_validation(self) -> bool:
        """Whether the validation images choose the weights, or when training or a phase ends."""
        made, phases = self.made, self.schedule.phases
        return made.ending.choose != "last" or ends_on_validation(made.trainer.callbacks, phases)

    @property
    def steps_per_epoch(self) -> int:
        """The optimizer steps of an epoch."""
        return _steps_per_epoch(self.config, self.data)

    def device_trainer(self, **options: Any) -> Trainer:
        """Return a Trainer that says only where to compute.

        Args:
            **options: Of the Trainer, beside these.
        """
        return Trainer(
            accelerator=self.made.trainer.accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            **evaluation_options(),
            **options,
        )


def build(
    parser: Parser, config: Namespace, start: RunStart, *, trains: bool = False
) -> Experiment:
    """Make backbone, data, task and strategy; what cannot be is refused before it takes time.

    Args:
        parser: See `experiment_parser`.
        config: What it has parsed.
        start: What `begin` has made of it.
        trains: Whether there must be what training needs.

    Raises:
        ValueError: If the phases, or a logger or callback of the trainer, cannot be, the values of
            the images need a range, or the checkpoint is of another model or of other classes.
    """
    strategy: FinetuningStrategy = make_section("finetuning", config.finetuning.as_dict())
    auto = strategy if isinstance(strategy, Auto) else None
    _check_epochs(config)
    by_steps = None if start.has_epochs or config.budget else max_steps(config.trainer)
    if auto is None and by_steps is None:
        _check_phases(strategy, config)
    fill_defaults(config, strategy)
    check_options(make_section("optimizer", config.optimizer.as_dict()))
    data = list_data(config, trains=trains)
    if by_steps is not None:  # The phases span them; fewer of them end the usual epochs earlier.
        epochs = math.ceil(by_steps / max(_steps_per_epoch(config, data), 1))
        config.trainer.max_epochs = max(config.trainer.max_epochs, epochs)

    def take(class_type: type[Any], **init_args: Any) -> ImageDataModule:
        del class_type  # It is made, and not listed twice; the backbone is made only now.
        data.data_config = init_args["data_config"]
        return data

    others = config.clone()
    del others["finetuning"]
    if auto is not None:
        del others["ending"]  # It is made when `Auto` has filled it in.
    try:
        made = parser.instantiate(others, instantiators=[(take, ImageDataModule, True)])
    except ValueError as error:
        raise (one_line_error(error) or error) from error.__cause__
    edit_for_strategy_(made.model, strategy)
    if start.resumed:
        start.resumed.check_task(made.model)
    made.data.check_values(made.data.value_survey)
    experiment = Experiment(parser, config, made, made.data, made.model, strategy, start)
    has_epochs = start.has_epochs or by_steps is not None
    return with_choice(experiment, auto, has_epochs=has_epochs) if auto else experiment


def _steps_per_epoch(config: Namespace, data: ImageDataModule) -> int:
    devices = world_size(config.trainer)
    images = math.ceil(len(data.samples("train")) / devices)
    share = per_device_batch_size(data.batch_size, devices)
    return steps_per_epoch(config.trainer, images, share)


def make_section(name: str, config: Mapping[str, Any]) -> Any:
    """Make the object of one section alone.

    Args:
        name: ``data``, ``finetuning`` or ``optimizer``.
        config: ``{"class_path": ..., "init_args": ...}``, perhaps of a run or a checkpoint: nothing
            is imported for it, see `check_imported`.

    Raises:
        ValueError: If a class in it is none of tltool and was not imported before.
    """
    check_imported(dict(config), f"The run's `{name}`")
    parser = Parser(prog="tltool")
    _SECTIONS[name](parser)
    return parser.instantiate(parser.parse_object({name: dict(config)}))[name]


def run_experiment(
    command: str,
    argv: Sequence[str],
    run: Callable[..., int | None],
    *,
    check: Callable[[Namespace], None] | None = None,
    classes: Classes | None = None,
    defaults: Mapping[str, Any] | None = None,
    trains: bool = False,
    **given: Any,
) -> int:
    """Run a command that reads the configuration of ``fit``, and return its exit status.

    Args:
        command: Its name.
        argv: What stands behind the name on the command line.
        run: What the command does with the experiment; it returns the exit status, or ``None``
            for 0. Its keywords are options beside the configuration, see `add_options_of`.
        check: Refuses wrong values of those, before anything is built.
        classes: Classes that they accept by short name.
        defaults: Of the configuration, where they are not those of ``fit``.
        trains: Whether the command has nothing to do for a run that is over.
        **given: Keywords for the command that are no options.
    """
    set_up_process()
    parser = experiment_parser(command, classes)
    parser.description = docstring_parser.parse(run.__doc__ or "").short_description
    options = add_options_of(run, parser, skip={"experiment", *given})
    parser.set_defaults(dict(defaults or {}))
    words = rewrite(argv)
    parser.exit_with_asked_help(words)
    config = parser.parse_args(words)
    try:
        if check is not None:
            check(config)
        if command != "plan":  # It may stand for another machine, as on a login node.
            check_accelerator(config.trainer.accelerator)
        if not is_auto(config):  # In front of what compares it with that of a checkpoint.
            fill_defaults(config, make_section("finetuning", config.finetuning.as_dict()))
        start = begin(parser, config)
        end = find_end(start, config) if trains else None
        if end is not None:
            rank_zero_only(print)(end)
            return 0
        experiment = build(parser, config, start, trains=trains)
        given |= {name: experiment.made[name] for name in options}
        for name in options:  # What is left is a configuration of fit.
            del config[name]
        return run(experiment, **given) or 0
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(out_of_memory_advice(config.as_dict())) from error


def list_data(config: Namespace, *, trains: bool) -> ImageDataModule:
    """Return the images of a configuration, listed: what is wrong with them is said at once.

    Weights are loaded, or downloaded, only then.

    Args:
        config: The parsed configuration. The batch size that follows from the images is set in it.
        trains: Whether there must be what training needs.
    """
    data: ImageDataModule = make_section("data", config.data.as_dict())
    data.samples("train")
    if trains:
        data.samples("val")
    if trains or config.data.init_args.get("batch_size") is None:
        data.settle_batch_size()
        config.data.init_args.batch_size = data.batch_size
    return data


def _check_epochs(config: Namespace) -> None:
    if config.trainer.max_epochs == 0 and not config.trainer.fast_dev_run:
        raise ValueError("`max_epochs: 0` trains nothing. Set --trainer.max_epochs 1, or more.")


def _check_phases(strategy: FinetuningStrategy, config: Namespace) -> None:
    """Refuse phases that cannot be, before weights are loaded and images are listed."""
    max_epochs = config.trainer.max_epochs
    if config.trainer.fast_dev_run or max_epochs is None or max_epochs < 0:
        return  # `Finetuning` says what is wrong, if anything is.
    given = config.model.backbone.init_args.as_dict()
    kept = ("name", "weights", "in_chans", "img_size", "stop_at", "model_args")
    if not given.keys() >= set(kept):
        return  # A backbone of the user's own, whose groups only the network itself tells.
    options = {key: given[key] for key in kept}
    groups = [*(f"backbone.{group}" for group in find_group_names(**options)), "head"]
    strategy.resolved_schedule(groups, max_epochs)
