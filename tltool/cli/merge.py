"""`tltool merge`: average the weights of checkpoints, choose on validation, report on test."""

from collections.abc import Collection, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import docstring_parser
from lightning.pytorch import Trainer

from tltool._objective import MONITORS
from tltool._output_file import check_output_file
from tltool._plain_text import one_line, plain_console
from tltool.cli.build import make_section
from tltool.cli.evaluation import DEFAULTS
from tltool.cli.parser import Parser
from tltool.cli.process import set_up_process
from tltool.cli.sections import add_data, known_classes
from tltool.cli.short_forms import import_own_modules, rewrite
from tltool.cli.signature_options import add_options_of
from tltool.cli.task_labels import take_labels_
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.evaluation.candidates import Choice
from tltool.inference.merge_sources import MergeAverage, MergeSources, read_sources
from tltool.inference.merging import Merge, merge_weights, save_merge
from tltool.reporting.tables import FactTable, rich_table
from tltool.training.checkpoint_io import CONFIG
from tltool.training.split_facts import SPLIT_OPTIONS, split_options
from tltool.training.weight_blends import POINTS


def main(argv: Sequence[str]) -> int:
    """Run ``tltool merge``."""
    set_up_process()
    names = list(takewhile(lambda word: not word.startswith("-"), argv[1:]))
    words = rewrite(argv[1 + len(names) :])
    gives_data = any(word.startswith(("--data", "--help", "-h")) for word in words)
    parser = Parser(
        prog="tltool merge",
        description=docstring_parser.parse(merge.__doc__ or "").short_description,
        known_classes={"data": known_classes()["data"]},
    )
    parser.given = "RUN_OR_CHECKPOINTS"
    options = add_options_of(merge, parser, skip={"data", "split_of_run", "trainer"})
    add_options_of(import_own_modules, parser)
    parser.add_lightning_class_args(Trainer, "trainer")
    defaults: dict[str, Any] = dict(DEFAULTS)
    if gives_data:
        add_data(parser)
    else:
        del defaults["data"]
    parser.set_defaults(defaults)
    parser.exit_with_asked_help(words)
    config = parser.parse_args([*names, *words])
    import_own_modules(modules=config.modules)
    data, taken = None, list[str]()
    if gives_data:
        data, given = config.data.as_dict(), parser.parse_args([*names, *words], defaults=False)
        taken = [name for name in SPLIT_OPTIONS if given.get(f"data.init_args.{name}") is None]
    asked = {name: config[name] for name in options}
    merge(**asked, data=data, split_of_run=taken, trainer=config.trainer.as_dict())
    return 0


def merge(
    checkpoints: list[Path],
    *,
    average: MergeAverage = "wise_ft",
    points: list[float] | None = None,
    share: float | None = None,
    choose: Choice = "best",
    monitor: str | None = None,
    output: Path = Path("merged.ckpt"),
    data: dict[str, Any] | None = None,
    split_of_run: Collection[str] = (),
    trainer: dict[str, Any] | None = None,
) -> None:
    """Average the weights of checkpoints, and write the best average as a checkpoint.

    Args:
        checkpoints: A run's directory, several, or checkpoints: of one backbone, head and list of
            classes.
        average: Points on the line from the start of a run to its end, or from the first to the
            second checkpoint (wise_ft); a greedy soup of all (soup); or their mean (uniform).
        points: Shares of the end to choose from, else 0, 0.25, 0.5, 0.75 and 1.
        share: Take this share of the end, and choose nothing; then no images are needed.
        choose: The best; or the start, unless the gain over it is more than one_standard_error; or
            the best that was trained, unless the start gains more than that over it.
        monitor: The metric to choose by; null for that which training chooses by.
        output: The checkpoint to write; there must be none yet.
        data: What the section ``data`` says; ``None`` for the data of the checkpoint's run.
        split_of_run: Which of `SPLIT_OPTIONS` are taken from the checkpoint's run, not from
            ``data``.
        trainer: What the section ``trainer`` says.
    """
    check_output_file(output, "--output", suffixes=(".ckpt",), example="merged.ckpt", is_new=True)
    sources = read_sources(checkpoints, average)
    images = None
    if data is not None or (share is None and average != "uniform"):
        images = _images(sources, data, split_of_run)
    found = merge_weights(
        sources,
        average,
        points=POINTS if points is None else points,
        share=share,
        data=images,
        trainer=Trainer(**(trainer or {})),
        choose=choose,
        monitor=monitor,
    )
    save_merge(sources, found, output)
    usual = MONITORS[sources.task.objective]
    _print(found, images, usual, monitor or sources.monitor)
    print(f"{one_line(found.name)}: {one_line(output)}")


def _images(
    sources: MergeSources, given: dict[str, Any] | None, split_of_run: Collection[str]
) -> ImageDataModule:
    """Return the images that were given, else those of the run, as the task needs them."""
    section = given or sources.base.get(CONFIG, {}).get("data")
    if section is None:
        raise ValueError("The checkpoint does not say which images it is of. Set --data.root.")
    known, arguments = split_options(sources.base), dict(section["init_args"])
    arguments |= {name: known[name] for name in split_of_run if name in arguments and name in known}
    arguments["data_config"] = sources.task.data_config
    if given is None:
        arguments["class_names"] = None  # The task has them, and see `take_labels_`.
    data: ImageDataModule = make_section("data", {**section, "init_args": arguments})
    take_labels_(data, sources.task)
    return data


def _print(found: Merge, data: ImageDataModule | None, usual: str, monitor: str) -> None:
    """Print what was measured, and on which images.

    Args:
        found: The merge.
        data: The images; ``None`` where nothing was measured.
        usual: The metric that the objective is judged by.
        monitor: The one that chose.
    """
    if found.num_averaged_norms:
        print(
            f"Running statistics of {found.num_averaged_norms} batch norms are averaged too, which "
            "can cost accuracy: set --data.root to try those of training images."
        )
    if data is None or found.chosen is None:
        return
    tests = {str(each): each.metrics[usual] for each in found.tested}
    names = list(dict.fromkeys(["val/loss", usual, monitor]))
    tested_as = usual.replace("val/", "test/")
    columns = ["candidate", *names, *([tested_as] if tests else []), ""]
    rows: list[list[object]] = []
    for each in found.measured:
        words = str(each.candidate)
        tested = [tests.get(words, "")] if tests else []
        is_chosen = "chosen" if each is found.chosen else ""
        rows.append([words, *(each.candidate.metrics[n] for n in names), *tested, is_chosen])
    plain_console().print(rich_table(FactTable(columns, rows, range(1, len(columns) - 1))))
    gain = found.gain(data.samples("test").groups) if tests else None
    number = len(found.chosen.candidate.predictions)
    if not tests:
        print(f"optimistic: the same {number} validation images choose and report")
    elif gain is not None:
        (name, estimate), (low, high) = gain, gain[1].interval
        print(
            f"gain over {one_line(name)} on {len(found.tested[0].predictions)} test images, which "
            f"chose nothing: {estimate.mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
        )
