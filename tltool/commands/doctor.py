"""`tltool doctor`: the checks before a long run, from the configuration of ``fit``."""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tltool.cli import FitCLI, run_cli
from tltool.commands.memory import memory_remedies
from tltool.commands.trainer_section import world_size
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.diagnostics.checks.check_result import CheckResult
from tltool.diagnostics.checks.image_checks import (
    HashedImages,
    check_images,
    hash_images,
    only_readable,
    write_duplicate_groups,
)
from tltool.diagnostics.checks.model_checks import ModelChecks
from tltool.diagnostics.checks.starting_signal import StartingSignal
from tltool.diagnostics.checks.step_memory import device_memory
from tltool.finetuning.schedule import Schedule
from tltool.models.layer_groups import layer_groups
from tltool.output_file import check_output_file
from tltool.reporting.figures.panels import SUFFIXES
from tltool.reporting.figures.starting_signals import draw_starting_signals
from tltool.training.image_task import ImageTask

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
            check_output_file(Path(config["plot"]), "--plot", SUFFIXES)
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
        images = hash_images(data, None if file else config["max_photos"])
        results, duplicates = check_images(images, data)
        status = Console(stderr=True).status
        with status("passing photos through the network"):
            checks = ModelChecks(self.model, only_readable(data, images), self._schedule())
            results += checks.before_training(log_prior=config["model"]["log_prior"])
        with status("a few steps of each phase"):
            results += checks.in_trial_steps()
            results += [self._memory(checks), checks.checkpoint(self._reload)]
        print_results(results)
        print_signals(checks.signals)
        print(describe_read(images))
        if config["plot"]:
            save_figure(draw_starting_signals(exam.signals), Path(config["plot"]))
            print(f"picture  {config['plot']}")
        if file:
            sizes = write_duplicate_groups(file, images, duplicates, data)
            print(describe_groups(file, images, sizes.tolist()))
        failed = sum(result.status == "failed" for result in results)
        warned = sum(result.status == "warning" for result in results)
        print(f"result   {failed} failed, {warned} warnings, {len(results)} checks")
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

    def _reload(self, task: ImageTask) -> tuple[ImageTask, int]:
        """Write a checkpoint into a directory that is deleted, and load it."""
        self.trainer.strategy.connect(task)
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "doctor.ckpt"
            self.trainer.save_checkpoint(file)
            loaded = ImageTask.load_from_checkpoint(file).to(task.device)
            return loaded, file.stat().st_size

    def _memory(self, checks: ModelChecks) -> CheckResult:
        devices = world_size(self.config["fit"]["trainer"])
        return checks.memory(
            batch_per_device=per_device_batch_size(self.datamodule.batch_size, devices),
            available=device_memory(self.trainer.strategy.root_device),
            remedy=memory_remedies(self.config["fit"].as_dict()),
        )


def check_groups_file(file: str) -> None:
    """Check where the groups go, before it takes time.

    Raises:
        FileExistsError: If there is a file already.
        FileNotFoundError: If there is no folder for it.
        ValueError: If it is no CSV.
    """
    path = Path(file)
    if path.suffix.lower() != ".csv":
        raise ValueError(
            f"--write-groups writes a CSV table. Write --write-groups groups.csv, not {file!r}."
        )
    if path.exists():
        raise FileExistsError(f"{file!r} exists. Name a new file, or remove it first.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r} for --write-groups. Create it first."
        )


def describe_read(images: HashedImages) -> str:
    """Return the line that says how many images were read.

    Example:
        >>> describe_read(HashedImages({}, [], [], 0))
        'images   all 0 were read'
    """
    if images.num_read == images.num_images:
        return f"images   all {images.num_read:,} were read"
    return (
        f"images   {images.num_read:,} of {images.num_images:,} were read, drawn at random "
        "(--max-photos): copies are found where both were drawn"
    )


def describe_groups(file: str, images: HashedImages, sizes: Sequence[int]) -> str:
    """Return the lines that say what was written, and how to train on it."""
    left_out = f"; {len(images.broken)} broken ones left out" if images.broken else ""
    test = ""
    if "test" in images.samples:
        test = f" --data.test_fraction {len(images.samples['test']) / len(images.paths):.2f}"
    return (
        f"groups   {file}: {len(images.paths):,} images in {len(sizes):,} groups, the largest of "
        f"{max(sizes):,}{left_out}\n"
        f"next     tltool fit --data ManifestDataModule --data.manifest {file}{test}"
    )


def print_results(results: Sequence[CheckResult]) -> None:
    """Print the table of all checks."""
    table = Table("check", "result")
    for title in ("what was found", "what to do"):
        table.add_column(title, overflow="fold")  # Paths are longer than the column.
    for result in results:
        style = STYLES[result.status]
        table.add_row(
            result.check,
            f"[{style}]{result.status}[/]",
            escape(result.found),
            escape(result.remedy),
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
