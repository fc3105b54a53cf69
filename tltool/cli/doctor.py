"""`tltool doctor`: the checks before a long run, from the configuration of ``fit``."""

import time
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tltool.cli.activation_plot import SUFFIXES
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.doctor_model import Exam, device_memory, num_failed
from tltool.cli.doctor_photos import (
    check_groups_file,
    describe_seen,
    look_at_photos,
    only_readable,
    photo_findings,
    write_groups,
)
from tltool.cli.doctor_plot import plot_signals
from tltool.cli.memory import memory_remedies
from tltool.cli.output_file import check_output_file
from tltool.cli.parser import Parser
from tltool.cli.trainer_section import world_size
from tltool.data.batch_size import per_device_batch_size
from tltool.diagnosis.finding import Finding
from tltool.diagnosis.starting_signal import StartingSignal

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def main(argv: Sequence[str]) -> int:
    """Run ``tltool doctor``."""
    return run_experiment("doctor", argv[1:], doctor, add_options=add_options, check=check)


def add_options(parser: Parser) -> None:
    """Add what is asked beside the configuration of ``fit``."""
    parser.add_argument(
        "--max_photos",
        type=int,
        default=4000,
        help="Read so many photos, drawn at random; all if there are fewer.",
    )
    parser.add_argument(
        "--write_groups",
        type=str | None,
        help="Read all photos, and write a manifest (.csv) in which copies share a group.",
    )
    parser.add_argument(
        "--plot",
        type=str | None,
        help="Draw the outputs of the head's layers before training into this file (.png).",
    )


def check(config: Namespace) -> None:
    """Check what is asked, before it takes time.

    Raises:
        ValueError: If it cannot be.
    """
    if config.max_photos < 1:
        raise ValueError(
            f"--max_photos must be at least 1, got {config.max_photos}. Leave it out for 4000."
        )
    if config.write_groups is not None:
        check_groups_file(config.write_groups)
    check_output_file(config.plot, "--plot", suffixes=SUFFIXES, example="head.png")


def doctor(experiment: Experiment) -> int:
    """Do all checks and print what they found; return 1 if any failed.

    All training happens on copies, and nothing is written that is not asked for.
    """
    started_at = time.monotonic()
    config, data, task = experiment.config, experiment.data, experiment.task
    trainer = experiment.device_trainer()
    data.setup("fit")
    print(f"data     {data.summary()}")
    task.to(trainer.strategy.root_device)
    file = config.write_groups
    seen = look_at_photos(data, None if file else config.max_photos)
    findings, duplicates = photo_findings(seen, data)
    status = Console(stderr=True).status
    with status("passing photos through the network"):
        exam = Exam(task, only_readable(data, seen), experiment.schedule)
        findings += exam.at_the_start(log_prior=config.model.log_prior)
    with status("a few steps of each phase"):
        findings += exam.in_steps()
        findings += [_memory(experiment, exam, trainer), exam.checkpoint(trainer)]
    print_findings(findings)
    print_signals(exam.signals)
    print(describe_seen(seen))
    if config.plot:
        plot_signals(exam.signals, Path(config.plot))
        print(f"picture  {config.plot}")
    if file:
        print(write_groups(file, seen, duplicates, data))
    failed = num_failed(findings)
    warned = sum(finding.status == "warning" for finding in findings)
    print(f"result   {failed} failed, {warned} warnings, {len(findings)} checks")
    print(f"took     {time.monotonic() - started_at:.0f} s")
    return 1 if failed else 0


def _memory(experiment: Experiment, exam: Exam, trainer: Trainer) -> Finding:
    devices = world_size(experiment.config.trainer)
    return exam.memory(
        share=per_device_batch_size(experiment.data.batch_size, devices),
        available=device_memory(trainer.strategy.root_device),
        remedy=memory_remedies(experiment.plain_config),
    )


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the table of all checks."""
    table = Table("check", "result")
    for title in ("what was found", "what to do"):
        table.add_column(title, overflow="fold")  # Paths are longer than the column.
    for finding in findings:
        style = STYLES[finding.status]
        table.add_row(
            finding.check,
            f"[{style}]{finding.status}[/]",
            escape(finding.found),
            escape(finding.remedy),
        )
    Console().print(table)


def print_signals(signals: Sequence[StartingSignal]) -> None:
    """Print the standard deviation of each hidden layer's outputs, for each initializer."""
    depth = len(signals[0].stds)
    if not depth:
        return
    table = Table("initializer", *(layer.layer for layer in signals[0].layers), "logits")
    for signal in signals:
        chosen = " (chosen)" if signal is signals[0] else ""
        numbers = [f"{std:.3g}" for std in (*signal.stds, signal.logits)]
        table.add_row(f"{signal.initializer}{chosen}", *numbers)
    Console().print(table)
    print("above    standard deviation of each layer's outputs before training")
