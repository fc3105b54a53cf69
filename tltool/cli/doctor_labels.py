"""`tltool doctor --labels`: a table and a page of suspicious labels, and what was decided."""

import functools
from pathlib import Path

import torch
from torch import Tensor

from tltool._atomic_write import write_whole
from tltool._output_file import check_output_file
from tltool._plain_text import one_line, plain_console, shell_command
from tltool.cli.build import Experiment
from tltool.cli.report import made_with
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.image_dataset import decode_with
from tltool.data.loading.labels import label_text
from tltool.diagnostics.checks.duplicates import find_duplicates
from tltool.diagnostics.checks.image_checks import HashedImages, hash_images, only_readable
from tltool.diagnostics.checks.label_review import (
    KEEP,
    Suspect,
    Undecided,
    check_table_names,
    corrected_rows,
    read_decisions,
    write_corrected,
    write_review,
)
from tltool.evaluation.label_errors import LabelErrors, find_label_errors
from tltool.inference.split_features import split_features
from tltool.models.backbone import Backbone
from tltool.reporting.label_page import label_report, suspect_table
from tltool.reporting.report import render_report
from tltool.reporting.tables import rich_table
from tltool.training.backbone_start import calibrate_backbone_

SHOWN = 20


def check_label_options(
    labels: Path | None, apply: Path | None, undecided: Undecided = "keep", **others: object
) -> None:
    """Check the files of ``--labels`` and ``--apply``, before anything is read.

    Args:
        labels: The table.
        apply: The manifest.
        undecided: What an empty cell says.
        **others: Options of the other checks, which ``--labels`` takes the place of.

    Raises:
        ValueError: If one is missing, or has another suffix, or an option would do nothing.
        FileExistsError: If what is to be written is there already.
        FileNotFoundError: If what is to be read is not there.
    """
    given = [name for name, value in others.items() if value]
    if labels is not None and given:
        raise ValueError(
            f"--labels looks for wrong labels alone, and --{given[0]} is of the other checks. "
            "Leave one of them out."
        )
    if apply is None:
        if undecided != KEEP:
            raise ValueError("--undecided is about --apply. Give that too, or leave it out.")
        check_output_file(
            labels, "--labels", suffixes=(".csv",), example="suspects.csv", is_new=True
        )
        if labels is not None:
            check_output_file(labels.with_suffix(".html"), "--labels", is_new=True)
        return
    check_output_file(apply, "--apply", suffixes=(".csv",), example="corrected.csv", is_new=True)
    if labels is None:
        raise ValueError(
            "--apply writes a manifest with what was decided in the table of --labels: name that "
            "too, as in --labels suspects.csv --apply corrected.csv."
        )


def doctor_labels(experiment: Experiment, labels: Path) -> int:
    """Write a table and a page of the images whose label all others contradict.

    Features are those of the backbone as training begins with it, and kept: what was computed once
    is read, also after a kill.

    Args:
        experiment: The images and the backbone.
        labels: The table; the page lies beside it, with the suffix ``.html``.
    """
    data, task = experiment.data, experiment.task
    if data.objective != "single_label":
        raise ValueError(
            f"--labels compares images of one class each, and `objective` is {data.objective}. "
            "Leave it out."
        )
    data.setup("fit")
    check_table_names(data)
    print(f"data     {one_line(data.summary())}")
    task.to(experiment.device_trainer().strategy.root_device)
    calibrate_backbone_(task.backbone, data)
    images = hash_images(data, None)
    clusters, said = find_duplicates(images.hashes).ties(images.groups)
    if said:
        print(f"copies   {said}")
    features = _features(
        task.backbone, only_readable(data, images), vars(experiment.config.features)
    )
    found = find_label_errors(
        features, torch.tensor(images.labels), data.num_classes, torch.from_numpy(clusters)
    )
    said = found.describe(len(images.paths))
    print(f"labels   {said}")
    if images.broken:
        print(f"broken   {len(images.broken):,} images cannot be read, and are left out")
    if len(found):
        _write(experiment, labels, images, found, said)
    return 0


def apply_decisions(
    data: ImageDataModule, labels: Path, apply: Path, *, undecided: Undecided
) -> int:
    """Write a manifest with what was decided in the table of suspicious labels."""
    data.setup("fit")
    check_table_names(data)
    decided = read_decisions(labels, data.class_names, undecided)
    rows = list(corrected_rows(data, decided))
    known = data.known_labels()
    changed = sum(label not in (None, known.get(path)) for path, label in decided.items())
    dropped = sum(label is None for label in decided.values())
    write_corrected(apply, rows)
    print(
        f"labels   {one_line(apply)}: {len(rows):,} images, {changed:,} with another label, "
        f"{dropped:,} left out"
    )
    words = ("fit", "--data", "ManifestDataModule", "--data.manifest", apply)
    print(f"next     {shell_command('tltool', *words)}")
    return 0


def _features(backbone: Backbone, data: ImageDataModule, caching: dict[str, object]) -> Tensor:
    """Return the features of all images, split by split."""
    splits = [split for split in ("train", "val", "test") if split in data.splits.by_name()]
    parts = [split_features(backbone, data, split, caching=caching) for split in splits]
    return torch.cat([part.float() for part in parts])


def _write(
    experiment: Experiment, file: Path, images: HashedImages, found: LabelErrors, said: str
) -> None:
    """Write the table and the page, and print the most suspicious ones."""
    data = experiment.data
    rows = found.rows.tolist()
    numbers = (each.tolist() for each in (found.suggested, found.of_label, found.of_suggested))
    suspects = [
        Suspect(
            images.paths[row],
            label_text(images.labels[row], data.class_names),
            data.class_names[suggested],
            of_label,
            of_suggested,
        )
        for row, suggested, of_label, of_suggested in zip(rows, *numbers, strict=True)
    ]
    every = images.names
    names = [every[row] for row in rows]
    page = file.with_suffix(".html")
    command = shell_command(
        "tltool", "doctor", "...", "--labels", file, "--apply", file.with_stem("corrected")
    )
    decode = functools.partial(
        decode_with, data.decoder, mode="RGB", value_range=data.known_value_range
    )
    report = label_report(suspects, decode, names=names, found=said, command=command)
    write_whole(page, render_report(report, made_with=made_with()))
    write_review(file, suspects)  # Last: a table that is there is not written again.
    plain_console().print(rich_table(suspect_table(suspects, names, SHOWN)))
    print(
        f"table    {one_line(file)}: fill in the column decision (suggested, a class, drop, keep)"
    )
    print(f"page     {one_line(page)}")
    print(f"next     {command}, with the same data")
