"""`tltool doctor`: the checks before a long run, from the configuration of ``fit``."""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from rich.table import Table
from rich.text import Text

from tltool._atomic_write import save_figure
from tltool._objective import Objective
from tltool._output_file import check_output_file
from tltool._plain_text import one_line, pixel_size, plain_console, shell_command
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.doctor_labels import apply_decisions, check_label_options, doctor_labels
from tltool.cli.doctor_ranks import check_ranks
from tltool.cli.memory import memory_remedies
from tltool.cli.trainer_section import world_size
from tltool.data.files.value_range import ValueRange
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.data.loading.value_survey import ValueSurvey
from tltool.data.transforms.crop_mode import crop_mode_name, share_seen
from tltool.diagnostics.checks.check_result import CheckResult
from tltool.diagnostics.checks.image_checks import (
    HashedImages,
    check_images,
    hash_images,
    only_readable,
    write_duplicate_groups,
)
from tltool.diagnostics.checks.label_review import Undecided, check_table_names
from tltool.diagnostics.checks.model_checks import ModelChecks
from tltool.diagnostics.checks.shortcuts import shortcut_check
from tltool.diagnostics.checks.starting_signal import StartingSignal
from tltool.diagnostics.checks.step_memory import device_memory
from tltool.reporting.figures.axes import SUFFIXES
from tltool.reporting.figures.starting_signals import draw_starting_signals
from tltool.reporting.tables import FactTable, rich_table
from tltool.training.backbone_start import calibrate_backbone_
from tltool.training.image_task import ImageTask

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def main(argv: Sequence[str]) -> int:
    """Run ``tltool doctor``."""
    if "--ranks" in argv:
        results = check_ranks(argv[1:], doctor)
        return 0 if results is None else print_ranks(results)
    return run_experiment("doctor", argv[1:], doctor, check=check)


def check(config: Namespace) -> None:
    """Check what is asked, before it takes time.

    Raises:
        ValueError: If it cannot be.
    """
    if config.max_images < 1:
        raise ValueError(
            f"--max_images must be at least 1, got {config.max_images}. Leave it out for 4000."
        )
    check_output_file(
        config.write_groups, "--write_groups", suffixes=(".csv",), example="groups.csv", is_new=True
    )
    check_output_file(config.plot, "--plot", suffixes=SUFFIXES, example="head.png")
    others = {"write_groups": config.write_groups, "plot": config.plot}
    check_label_options(config.labels, config.apply, config.undecided, **others)


def doctor(
    experiment: Experiment,
    *,
    max_images: int = 4000,
    write_groups: Path | None = None,
    plot: Path | None = None,
    labels: Path | None = None,
    apply: Path | None = None,
    undecided: Undecided = "keep",
    ranks: bool = False,
    time_limit: float = 120.0,
) -> int:
    """Do all checks and print what they found; return 1 if any failed.

    All training happens on copies, and nothing is written that is not asked for.

    Args:
        experiment: What to check.
        max_images: Read so many images, drawn at random; all if there are fewer.
        write_groups: Read all images, and write a manifest (.csv) in which copies share a group.
        plot: Draw the outputs of the head's layers before training into this file (.png).
        labels: Look for wrong labels instead, in all images: write those that all other images
            contradict into this table (.csv), and a page beside it that shows them.
        apply: Read the table of --labels with its column decision filled in, and write a manifest
            (.csv) with what was decided, to train on.
        undecided: With --apply: whether images without a decision keep their label, or drop out.
        ranks: Compare the processes that srun or torchrun has started instead: images, weights and
            options; and try an all-reduce and a save.
        time_limit: With --ranks: seconds that a rank waits for the others.
    """
    if labels is not None:
        if apply is None:
            return doctor_labels(experiment, labels)
        return apply_decisions(experiment.data, labels, apply, undecided=undecided)
    started_at = time.monotonic()
    data, task = experiment.data, experiment.task
    trainer = experiment.device_trainer()
    data.setup("fit")
    if write_groups:
        check_table_names(data)
    print(f"data     {one_line(data.summary())}")
    task.to(trainer.strategy.root_device)
    calibrate_backbone_(task.backbone, data)
    images = hash_images(data, None if write_groups else max_images)
    results, duplicates = check_images(images, data)
    groups, _ = duplicates.ties(images.groups)
    results.append(shortcut_check(data, images.paths, images.labels, groups))
    status = plain_console(stderr=True).status
    with status("passing images through the network"):
        checks = ModelChecks(task, only_readable(data, images), experiment.schedule)
        results += checks.before_training(log_prior=experiment.config.model.log_prior)
    with status("a few steps of each phase"):
        results += checks.in_trial_steps()
        devices = world_size(experiment.config.trainer)
        memory = checks.memory(
            batch_per_device=per_device_batch_size(data.batch_size, devices),
            available=device_memory(trainer.strategy.root_device),
            remedy=memory_remedies(experiment.plain_config),
        )
        results += [memory, checks.checkpoint(partial(_reload, trainer))]
    print_results(results)
    print_signals(checks.signals)
    print(describe_read(images))
    print(describe_crop([each.aspect for each in images.hashes], data.resolved_data_config()))
    print(describe_values(data.value_survey, data.known_value_range))
    if plot:
        save_figure(draw_starting_signals(checks.signals), plot)
        print(f"picture  {one_line(plot)}")
    if write_groups:
        sizes = write_duplicate_groups(str(write_groups), images, duplicates, data)
        print(describe_groups(write_groups, images, sizes.tolist(), objective=data.objective))
    count = Counter(result.status for result in results)
    print(f"result   {count['failed']} failed, {count['warning']} warnings, {len(results)} checks")
    print(f"took     {time.monotonic() - started_at:.0f} s")
    return min(count["failed"], 1)


def _reload(trainer: Trainer, task: ImageTask) -> tuple[ImageTask, int]:
    """Write a checkpoint into a temporary directory; return what it loads as, and its bytes."""
    trainer.strategy.connect(task)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "doctor.ckpt"
        trainer.save_checkpoint(file)
        loaded = ImageTask.load_from_checkpoint(file).to(task.device)
        return loaded, file.stat().st_size


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
        "(--max_images): copies are found where both were drawn"
    )


def describe_crop(aspects: Sequence[float], data_config: Mapping[str, Any]) -> str:
    """Return the line that says how much of the images is seen.

    Example:
        >>> config = {"input_size": (3, 224, 224), "crop_pct": 1.0, "crop_mode": "center"}
        >>> print(describe_crop([1.0, 2.0], config))
        crop     center, 224 px: 75 % of the area of an image is seen, at least 50 %;
                 --data.crop_mode squash or pad shows all
    """
    shares = [share_seen(data_config, aspect) for aspect in aspects] or [1.0]
    seen = "the whole of each image is seen"
    if min(shares) < 1:
        seen = (
            f"{sum(shares) / len(shares):.0%} of the area of an image is seen, at least "
            f"{min(shares):.0%}; --data.crop_mode squash or pad shows all"
        ).replace("%", " %")
    pixels = pixel_size(data_config["input_size"])
    return f"crop     {crop_mode_name(data_config)}, {pixels} px: {seen}"


def describe_values(survey: ValueSurvey, value_range: ValueRange | None) -> str:
    """Return the line that says which pixel values become black and white.

    Example:
        >>> describe_values(ValueSurvey(9, 9, 9, 9, 3.0, 4000.0, (0, 65535)), (0, 4095))
        'values   0 is black, 4095 white; 16-bit, values 3 to 4,000 in the 9 of 9 images that ...'
    """
    used = value_range or survey.own_range
    scale = f"{used[0]:g} is black, {used[1]:g} white; " if used else ""
    return f"values   {scale}{survey.looked_at}"


def describe_groups(
    file: Path, images: HashedImages, sizes: Sequence[int], *, objective: Objective = "single_label"
) -> str:
    """Return the lines that say what was written, and how to train on it.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> images = HashedImages({"train": Samples(["a.png"], [0.5])}, [], [], 1)
        >>> print(describe_groups(Path("g.csv"), images, [1], objective="regression"))
        groups   g.csv: 1 images in 1 groups, the largest of 1
        next     tltool fit --data ManifestDataModule --data.manifest g.csv --model.objective ...
    """
    left_out = f"; {len(images.broken)} broken ones left out" if images.broken else ""
    share = len(images.samples.get("test", ())) / len(images.paths)
    test = ("--data.test_fraction", f"{share:.2f}") if share else ()
    what = () if objective == "single_label" else ("--model.objective", objective)
    words = ("fit", "--data", "ManifestDataModule", "--data.manifest", file, *what, *test)
    return (
        f"groups   {one_line(file)}: {len(images.paths):,} images in {len(sizes):,} groups, the "
        f"largest of {max(sizes):,}{left_out}\n"
        f"next     {shell_command('tltool', *words)}"
    )


def print_results(results: Sequence[CheckResult]) -> None:
    """Print the table of all checks."""
    table = Table("check", "result")
    for title in ("what was found", "what to do"):
        table.add_column(title, overflow="fold")  # Paths are longer than the column.
    for result in results:
        status = Text(result.status, style=STYLES[result.status])
        table.add_row(result.check, status, one_line(result.found), one_line(result.remedy))
    plain_console().print(table)


def print_ranks(results: Sequence[CheckResult]) -> int:
    """Print what ``--ranks`` has found, and return the exit status."""
    print_results(results)
    num_failed = sum(result.status == "failed" for result in results)
    print(f"result   {num_failed} failed, {len(results)} checks of ranks")
    return min(num_failed, 1)


def print_signals(signals: Sequence[StartingSignal]) -> None:
    """Print the standard deviation of each hidden layer's outputs, for each initializer."""
    if not signals[0].stds:
        return
    rows = [
        (
            f"{signal.initializer}{' (chosen)' if signal is signals[0] else ''}",
            *(f"{std:.3g}" for std in (*signal.stds, signal.logits)),
        )
        for signal in signals
    ]
    columns = ("initializer", *(layer.layer for layer in signals[0].layers), "logits")
    plain_console().print(rich_table(FactTable(columns, rows)))
    print("above    standard deviation of each layer's outputs before training")
