"""`tltool plan`: what a run would train when, before it takes time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool._atomic_write import save_figure
from tltool._plain_text import one_line, plain_console
from tltool.cli.advise import advise_and_write, check_question
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.lr_range import print_lr_range
from tltool.cli.surgery_damage import check_surgery, print_damage
from tltool.cli.trainer_section import max_steps, world_size
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.finetuning.freeze import module_groups
from tltool.finetuning.plan import Plan, PlannedPhase, make_plan
from tltool.finetuning.plan_warnings import plan_warnings
from tltool.finetuning.schedule import Schedule
from tltool.models.head_warnings import head_batch_warnings
from tltool.models.layer_groups import layer_groups
from tltool.reporting.figures.lr_range import draw_lr_range
from tltool.reporting.figures.schedule import draw_schedule, lr_by_parameter_group
from tltool.reporting.figures.surgery_damage import draw_surgery_damage
from tltool.reporting.tables import FactTable, rich_table
from tltool.training.distributed.fsdp2 import is_sharding

#: Of which type weights are that train in other precisions than float32.
WEIGHTS = {
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
    **dict.fromkeys(("64-true", "64"), torch.float64),
}


def main(argv: Sequence[str]) -> int:
    """Run ``tltool plan``."""
    return run_experiment("plan", argv[1:], plan, check=check_question)


def plan(
    experiment: Experiment,
    *,
    dump: bool = False,
    plot: Path | None = None,
    lr_range: bool = False,
    lr_range_steps: int = 60,
    measure_surgery: bool = False,
    advise: bool = False,
    write_config: Path | None = None,
) -> None:
    """Make the plan of an experiment and print it; or do what else is asked.

    Args:
        experiment: What would be trained.
        dump: Print only the phases, as YAML to edit and to give to fit.
        plot: Draw it into this file (.png, .svg).
        lr_range: Try rising learning rates on the first phase that trains layers of the backbone,
            or else on the head, and suggest one.
        lr_range_steps: Batches that --lr_range takes.
        measure_surgery: Probe the backbone with its edits and without; --plot draws each layer.
        advise: Probe the frozen backbone on the images, and advise a strategy.
        write_config: With --advise: write it here, for fit.
    """
    if advise:
        advise_and_write(experiment, write_config)
        return
    if dump:
        edits = experiment.strategy.surgery(experiment.backbone)
        print(dump_schedule(experiment.schedule, edits), end="")
        return
    if measure_surgery:
        check_surgery(experiment)
    made = _plan(experiment)
    figure = draw_schedule(made, lr_by_parameter_group(made), width=8, named=True) if plot else None
    if lr_range:
        figure = draw_lr_range(print_lr_range(experiment, made, lr_range_steps))
    if measure_surgery:
        figure = draw_surgery_damage(print_damage(experiment).drifts)
    if plot and figure:
        save_figure(figure, plot)
        print(f"picture  {one_line(plot)}")


def _plan(experiment: Experiment) -> Plan:
    config, task, data = experiment.config, experiment.task, experiment.data
    trainer = experiment.made.trainer
    data.settle_batch_size()  # A batch that fit would refuse.
    share = per_device_batch_size(data.batch_size, world_size(config.trainer))
    optimizer = task.configure_optimizers()
    made = make_plan(
        task,
        task.make_optimizer,
        optimizer,
        experiment.schedule,
        steps_per_epoch=experiment.steps_per_epoch,
        max_epochs=config.trainer.max_epochs,
        max_steps=max_steps(config.trainer),
        dtype=WEIGHTS.get(str(config.trainer.precision), torch.float32),
        num_shards=world_size(config.trainer) if is_sharding(trainer.strategy) else 1,
    )
    if experiment.choice:
        print(f"chosen   {one_line(experiment.choice)}")
    print_plan(made, task, f"{data.batch_size} images a step, {share} per device")
    warnings = plan_warnings(made, task, optimizer, batch_per_device=share)
    warnings += head_batch_warnings(task.head, batch_per_device=share)
    for warning in warnings:
        print(f"warning: {warning}")
    return made


def dump_schedule(schedule: Schedule, surgery: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a resolved schedule as YAML for the section ``finetuning``.

    Args:
        schedule: The schedule.
        surgery: Edits of the backbone that its strategy makes, and that `ChosenGroups` does not.

    Example:
        >>> from tltool.finetuning.phase import Phase
        >>> print(dump_schedule(Schedule((Phase("probe", ("head",), epochs=2),))))
        finetuning:
          class_path: ChosenGroups
          init_args:
            phases:
            - name: probe
              trains: [head]
              epochs: 2
        <BLANKLINE>
    """
    config = schedule.as_config()
    for phase in config["phases"]:
        for field, usual in (("parameters", "all"), ("lr_scale", 1.0)):
            values = phase.get(field)
            if isinstance(values, dict) and set(values.values()) == {usual}:
                del phase[field]
    sections: dict[str, Any] = (
        {"model": {"backbone": {"surgery": list(surgery)}}} if surgery else {}
    )
    sections["finetuning"] = {"class_path": "ChosenGroups", "init_args": config}
    return yaml.safe_dump(sections, sort_keys=False, default_flow_style=None, width=110)


def print_plan(plan: Plan, task: nn.Module, batch: str) -> None:
    """Print groups, surgery and phases."""
    console, reports = (
        plain_console(),
        getattr(task.get_submodule("backbone"), "surgery_reports", []),
    )
    console.print(rich_table(FactTable(("layer group", "parameters"), list(plan.groups.items()))))
    for report in reports:
        print(f"surgery  {report}")
    rows = []
    for planned in plan.phases:
        steps = planned.span.planned_end - planned.span.start
        at_most = "at most " if planned.phase.until else ""
        rows.append(
            [
                planned.phase.name,
                f"{at_most}{steps / plan.steps_per_epoch:.3g}",
                f"{at_most}{steps:,}",
                sum(planned.trained.values()),
                f"{planned.memory / 2**20:,.1f} MiB",
                _batch_norm(planned, task),
            ]
        )
    columns = ("phase", "epochs", "steps", "parameters", "memory", "batch norm")
    console.print(rich_table(FactTable(columns, rows)))
    print("memory   of gradients and optimizer, on each device")
    plural = "" if plan.steps_per_epoch == 1 else "s"
    print(f"batch    {batch}; {plan.steps_per_epoch:,} step{plural} an epoch")
    width = max(len(planned.phase.name) for planned in plan.phases)
    for planned in plan.phases:
        for number, (lrs, run) in enumerate(_lrs(planned)):
            name = "" if number else planned.phase.name
            first = "lr" if planned is plan.phases[0] and not number else ""
            print(f"{first:<9}{name:<{width}}  {lrs:<20}  {run}")


def _lrs(planned: PlannedPhase) -> list[tuple[str, str]]:
    """Return learning rates in words, and each run of neighboring groups that has them."""
    runs: list[tuple[str, list[str]]] = []
    for group in planned.trained:
        lrs = planned.lrs_of(group).values()
        kind = planned.phase.group_parameters(group)
        words = " to ".join(dict.fromkeys(f"{lr:.3g}" for lr in (min(lrs), max(lrs))))
        words += "" if kind == "all" else f" ({kind})"
        if runs and runs[-1][0] == words:
            runs[-1][1].append(group)
        else:
            runs.append((words, [group]))
    return [(words, " ... ".join(dict.fromkeys((run[0], run[-1])))) for words, run in runs]


def _batch_norm(planned: PlannedPhase, task: nn.Module) -> str:
    """Return what batch norms do in the groups that train."""
    owners = module_groups(task, layer_groups(task))
    norms = [groups for module, groups in owners.items() if isinstance(module, _BatchNorm)]
    live = sum(not groups.isdisjoint(planned.phase.groups) for groups in norms)
    if planned.phase.batch_norm == "frozen" or not live:
        return f"frozen ({len(norms)})" if norms else "none"
    return f"{planned.phase.batch_norm} ({live} of {len(norms)})"
