"""`tltool plan`: what a run would train when, before it takes time."""

import math
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool._atomic_write import save_figure, write_whole
from tltool._module_state import restored_state
from tltool.cli.advise import advised_yaml, check_question, print_advice
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.parser import Parser
from tltool.cli.trainer_section import max_steps, steps_per_epoch, world_size
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.diagnostics.advice.lr_range import LRRange, lr_range_test
from tltool.finetuning.freeze import module_groups
from tltool.finetuning.plan import Plan, PlannedPhase, make_plan
from tltool.finetuning.plan_warnings import plan_warnings
from tltool.finetuning.schedule import Schedule
from tltool.models.head_warnings import head_batch_warnings
from tltool.models.layer_groups import layer_groups
from tltool.reporting.figures.lr_range import draw_lr_range
from tltool.reporting.figures.schedule import draw_schedule, lr_by_parameter_group
from tltool.training.input_norm_fit import fit_input_norm_

OWN_OPTIONS = ("dump", "plot", "lr_range", "lr_range_steps", "advise", "write_config")


def main(argv: Sequence[str]) -> int:
    """Run ``tltool plan``."""
    return run_experiment("plan", argv[1:], plan, add_options=add_options, check=check_question)


def add_options(parser: Parser) -> None:
    """Add what is asked beside the configuration of ``fit``."""
    parser.add_argument(
        "--dump",
        action="store_true",
        help="Print only the phases, as YAML to edit and to give to fit.",
    )
    parser.add_argument("--plot", type=str | None, help="Draw it into this file (.png, .svg).")
    parser.add_argument(
        "--lr_range",
        action="store_true",
        help="Try rising learning rates on the first phase, and suggest one.",
    )
    parser.add_argument(
        "--lr_range_steps", type=int, default=60, help="Batches that --lr_range takes."
    )
    parser.add_argument(
        "--advise",
        action="store_true",
        help="Probe the frozen backbone on the images, and advise a strategy.",
    )
    parser.add_argument(
        "--write_config", type=str | None, help="With --advise: write it here, for fit."
    )


def plan(experiment: Experiment) -> None:
    """Make the plan of an experiment and print it; or do what else is asked."""
    config = experiment.config
    if config.advise:
        _advise(experiment)
    elif config.dump:
        print(dump_schedule(experiment.schedule), end="")
    else:
        _plan(experiment)


def _plan(experiment: Experiment) -> None:
    config, task, data = experiment.config, experiment.task, experiment.data
    devices = world_size(config.trainer)
    share = per_device_batch_size(data.batch_size, devices)
    images = math.ceil(len(data.samples("train")) / devices)
    optimizer = task.configure_optimizers()
    made = make_plan(
        task,
        task.make_optimizer,
        optimizer,
        experiment.schedule,
        steps_per_epoch=steps_per_epoch(config.trainer, images, share),
        max_epochs=config.trainer.max_epochs,
        max_steps=max_steps(config.trainer),
    )
    print_plan(made, task, f"{data.batch_size} images a step, {share} per device")
    warnings = plan_warnings(made, task, optimizer, batch_per_device=share)
    warnings += head_batch_warnings(task.head, batch_per_device=share)
    for warning in warnings:
        print(f"warning: {warning}")
    if config.lr_range:
        _test_rates(experiment, made.phases[0])
    elif config.plot:
        figure = draw_schedule(made, lr_by_parameter_group(made), width=8, named=True)
        save_figure(figure, Path(config.plot))
    if config.plot:
        print(f"picture  {config.plot}")


def _advise(experiment: Experiment) -> None:
    config, file = experiment.config.clone(), experiment.config.write_config
    advice = print_advice(experiment.backbone, experiment.data)
    for option in OWN_OPTIONS:
        del config[option]
    own = experiment.parser.dump(config, skip_default=True, skip_validation=True)
    text = advised_yaml(own, advice)
    if file is None:
        print("\nThis run as YAML, to keep and change (--write_config FILE):")
        print(text, end="")
        return
    write_whole(Path(file), text)
    print(f"next     tltool fit --config {file}")


def _test_rates(experiment: Experiment, planned: PlannedPhase) -> None:
    config, task, data = experiment.config, experiment.task, experiment.data
    loader, steps = data.train_dataloader(), config.lr_range_steps
    status = Console(stderr=True).status(f"{steps} steps at rising learning rates")
    with restored_state(task), status:
        fit_input_norm_(task, data)
        found = lr_range_test(task, planned.phase, loader, num_steps=steps)
    print_range(found, planned)
    if config.plot:
        save_figure(draw_lr_range(found), Path(config.plot))


def dump_schedule(schedule: Schedule) -> str:
    """Return a resolved schedule as YAML for the section ``finetuning``.

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
    chosen = {"class_path": "ChosenGroups", "init_args": config}
    return yaml.safe_dump(
        {"finetuning": chosen}, sort_keys=False, default_flow_style=None, width=110
    )


def print_plan(plan: Plan, task: nn.Module, batch: str) -> None:
    """Print groups, surgery and phases."""
    console = Console()
    groups = Table("layer group", "parameters")
    for group, count in plan.groups.items():
        groups.add_row(group, f"{count:,}")
    console.print(groups)
    for report in getattr(task.get_submodule("backbone"), "surgery_reports", []):
        print(f"surgery  {report}")
    phases = Table("phase", "epochs", "steps", "parameters", "memory", "batch norm")
    for planned in plan.phases:
        phases.add_row(
            planned.phase.name,
            _epochs(planned, plan.steps_per_epoch),
            f"{_at_most(planned)}{planned.span.planned_end - planned.span.start:,}",
            f"{sum(planned.trained.values()):,}",
            f"{planned.memory / 2**20:,.1f} MiB",
            _batch_norm(planned, task),
        )
    console.print(phases)
    print("memory   of gradients and optimizer, on each device")
    print(f"batch    {batch}; {plan.steps_per_epoch:,} steps an epoch")
    width = max(len(planned.phase.name) for planned in plan.phases)
    for planned in plan.phases:
        for number, (rates, run) in enumerate(_rates(planned)):
            name = "" if number else planned.phase.name
            first = "rate" if planned is plan.phases[0] and not number else ""
            print(f"{first:<9}{name:<{width}}  {rates:<20}  {run}")


def print_range(found: LRRange, planned: PlannedPhase) -> None:
    """Print what the learning-rate range test says."""
    print(
        f"lr range phase {planned.phase.name}: the loss falls most steeply at "
        f"--optimizer.lr {found.steepest:.2g}, is least at {found.best:.2g}"
        + (f", and explodes at {found.lrs[-1]:.2g}." if found.exploded else ".")
    )


def _rates(planned: PlannedPhase) -> list[tuple[str, str]]:
    """Return learning rates in words, and each run of neighboring groups that has them."""
    runs: list[tuple[str, list[str]]] = []
    for group in planned.trained:
        rates = planned.lrs_of(group).values()
        kind = planned.phase.group_parameters(group)
        words = " to ".join(dict.fromkeys(f"{rate:.3g}" for rate in (min(rates), max(rates))))
        words += "" if kind == "all" else f" ({kind})"
        if runs and runs[-1][0] == words:
            runs[-1][1].append(group)
        else:
            runs.append((words, [group]))
    return [(words, " ... ".join(dict.fromkeys((run[0], run[-1])))) for words, run in runs]


def _at_most(planned: PlannedPhase) -> str:
    return "at most " if planned.phase.until else ""


def _epochs(planned: PlannedPhase, steps_per_epoch: int) -> str:
    epochs = (planned.span.planned_end - planned.span.start) / steps_per_epoch
    return f"{_at_most(planned)}{epochs:.3g}"


def _batch_norm(planned: PlannedPhase, task: nn.Module) -> str:
    """Return what batch norms do in the groups that train."""
    owners = module_groups(task, layer_groups(task))
    norms = [groups for module, groups in owners.items() if isinstance(module, _BatchNorm)]
    live = sum(not groups.isdisjoint(planned.phase.groups) for groups in norms)
    if planned.phase.batch_norm == "frozen" or not live:
        return f"frozen ({len(norms)})" if norms else "none"
    return f"{planned.phase.batch_norm} ({live} of {len(norms)})"
