"""The objects of a run that is over, made again from its configuration and its checkpoint."""

from collections.abc import Mapping
from typing import Any

from tltool.cli.parser import Parser
from tltool.cli.trainer_section import max_steps
from tltool.data import (  # noqa: F401  # so that the datamodules are found by name
    digits,
    elpv,
    folder,
    manifest,
    named,
)
from tltool.data.datamodule import ImageDataModule
from tltool.finetuning import partial_strategies  # noqa: F401  # so that these are found by name
from tltool.finetuning.groups import layer_groups
from tltool.finetuning.plan import Plan, make_plan
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.reporting.run_record import RunRecord
from tltool.tasks.image_task import ImageTask, OptimizerFactory


def make_data(config: Mapping[str, Any], task: ImageTask) -> ImageDataModule:
    """Make the datamodule of a run, with the preprocessing and the classes of its checkpoint."""
    parser = Parser(prog="tltool report")
    parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True)
    given = {"data_config": task.data_config, "class_names": task.class_names}
    data = config["data"] | {"init_args": config["data"]["init_args"] | given}
    module: ImageDataModule = parser.instantiate(parser.parse_object({"data": data})).data
    return module


def make_run_plan(
    run: RunRecord, task: ImageTask, checkpoint: Mapping[str, Any], steps_per_epoch: int
) -> Plan:
    """Work out what trained when in a run, as far as its checkpoint knows which phases have ended.

    Args:
        run: The run.
        task: Its task.
        checkpoint: Its newest checkpoint.
        steps_per_epoch: Optimizer steps in one epoch.

    Raises:
        ValueError: If the schedule does not fit.
    """
    parser = Parser(prog="tltool report")
    parser.add_subclass_arguments(FinetuningStrategy, "finetuning")
    parser.add_argument("--optimizer", type=OptimizerFactory)
    sections = {name: run.config[name] for name in ("finetuning", "optimizer")}
    made = parser.instantiate(parser.parse_object(sections))
    schedule = made.finetuning.resolved_schedule(list(layer_groups(task)), run.max_epochs)
    assert run.max_epochs is not None  # noqa: S101  # the schedule was checked against it
    task.make_optimizer = made.optimizer
    return make_plan(
        task,
        task.make_optimizer,
        task.configure_optimizers(),
        schedule,
        steps_per_epoch=steps_per_epoch,
        max_epochs=run.max_epochs,
        max_steps=max_steps(run.config["trainer"]),
        ended=ended_phases(checkpoint),
    )


def ended_phases(checkpoint: Mapping[str, Any]) -> dict[str, int]:
    """Return the epoch in front of which a metric ended a phase, by the phase's name."""
    ended: dict[str, int] = checkpoint.get("callbacks", {}).get("Finetuning", {}).get("ended", {})
    return ended
