"""`tltool doctor`: the checks before a long run, from the configuration of ``fit``."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
from tltool.cli.fit import FitCLI, run_cli
from tltool.cli.memory import memory_remedies
from tltool.cli.plan_plot import check_picture
from tltool.cli.trainer_section import world_size
from tltool.data.batch_size import per_device_batch_size
from tltool.diagnosis.finding import Finding
from tltool.diagnosis.starting_signal import StartingSignal
from tltool.finetuning.groups import layer_groups
from tltool.finetuning.schedule import Schedule

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


class DoctorCLI(FitCLI):
    """Build what ``fit`` would build from the same configuration, and look whether it is sound.

    All training happens on copies, and nothing is written that is not asked for.
    """

    command = "doctor"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is asked beside the configuration of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--max-photos",
            type=int,
            default=4000,
            help="Read so many photos, drawn at random; all if there are fewer.",
        )
        parser.add_argument(
            "--write-groups",
            type=str | None,
            help="Read all photos, and write a manifest (.csv) in which copies share a group.",
        )
        parser.add_argument(
            "--plot",
            type=str | None,
            help="Draw the outputs of the head's layers before training into this file (.png).",
        )

    def before_instantiate_classes(self) -> None:
        """Check what is asked, before it takes time."""
        config = self.config["fit"]
        if config["max_photos"] < 1:
            raise ValueError(
                f"--max-photos must be at least 1, got {config['max_photos']}. Leave it out for "
                "4000."
            )
        if config["write_groups"] is not None:
            check_groups_file(config["write_groups"])
        if config["plot"] is not None:
            check_picture(config["plot"])
        super().before_instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create a trainer that says only where to compute, and writes one checkpoint."""
        config = self.config_init["fit"]["trainer"]
        return Trainer(
            accelerator=config["accelerator"],
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )

    def before_fit(self) -> None:
        """Say what there is."""
        self.started_at = time.monotonic()
        self.datamodule.setup("fit")
        print(f"data     {self.datamodule.summary()}")
        self.model.to(self.trainer.strategy.root_device)

    def fit(self, **kwargs: Any) -> None:
        """Do all checks, print what they found, and end with status 1 if any failed."""
        config, data = self.config["fit"], self.datamodule
        file = config["write_groups"]
        seen = look_at_photos(data, None if file else config["max_photos"])
        findings, duplicates = photo_findings(seen, data)
        status = Console(stderr=True).status
        with status("passing photos through the network"):
            exam = Exam(self.model, only_readable(data, seen), self._schedule())
            findings += exam.at_the_start(log_prior=config["model"]["log_prior"])
        with status("a few steps of each phase"):
            findings += exam.in_steps()
            findings += [self._memory(exam), exam.checkpoint(self.trainer)]
        print_findings(findings)
        print_signals(exam.signals)
        print(describe_seen(seen))
        if config["plot"]:
            plot_signals(exam.signals, Path(config["plot"]))
            print(f"picture  {config['plot']}")
        if file:
            print(write_groups(file, seen, duplicates, data))
        failed = num_failed(findings)
        warned = sum(finding.status == "warning" for finding in findings)
        print(f"result   {failed} failed, {warned} warnings, {len(findings)} checks")
        print(f"took     {time.monotonic() - self.started_at:.0f} s")
        if failed:
            sys.exit(1)

    def after_fit(self) -> None:
        """Say nothing: no run has ended."""

    def _schedule(self) -> Schedule:
        config = self.config_init["fit"]
        schedule: Schedule = config["finetuning"].resolved_schedule(
            list(layer_groups(self.model)), config["trainer"]["max_epochs"]
        )
        return schedule

    def _memory(self, exam: Exam) -> Finding:
        devices = world_size(self.config["fit"]["trainer"])
        return exam.memory(
            share=per_device_batch_size(self.datamodule.batch_size, devices),
            available=device_memory(self.trainer.strategy.root_device),
            remedy=memory_remedies(self.config["fit"].as_dict()),
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


def main(argv: Sequence[str]) -> int:
    """Run ``tltool doctor``."""
    return run_cli(DoctorCLI, ["fit", *argv[1:]])
