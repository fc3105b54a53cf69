"""The model card of an export: facts of its checkpoint and run directory, written beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool._atomic_write import write_whole
from tltool.cli.build import make_section
from tltool.cli.short_yaml import short_yaml
from tltool.cli.task_labels import take_labels_
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.inference.export.exporting import FORMATS, Exported, FormatName
from tltool.inference.predictor import Predictor
from tltool.inference.split_measurement import measure_split
from tltool.models.weights.weights_license import weights_license
from tltool.reporting.card.card_facts import CardFacts
from tltool.reporting.card.licenses import UNKNOWN, Licenses, data_license
from tltool.reporting.card.model_card import card_path, model_card
from tltool.reporting.run_record import RunRecord, read_run
from tltool.training.checkpoint_io import CONFIG, read_checkpoint
from tltool.training.distributed.run_status import read_status
from tltool.training.image_task import ImageTask
from tltool.training.run_directory import resumed_run_dir


def write_card(
    checkpoint: Path, exported: Exported, to: FormatName, *, measures: bool = True
) -> Path:
    """Write the model card of an export beside it, and return where it lies.

    Args:
        checkpoint: What was exported.
        exported: What came out.
        to: The format.
        measures: Whether the model predicts the test images of its run, or those that validate.
    """
    content = read_checkpoint(checkpoint, map_location="meta")
    predictor, missing = exported.predictor, list[str]()
    config: Mapping[str, Any] = content.get(CONFIG, {})
    if not config:
        missing.append("The configuration of the training: it is not in the checkpoint.")
    if "trust" in content and not FORMATS[to].has_unknown:
        missing.append(
            "Which images are of an unknown kind: what the checkpoint has fitted to tell them "
            "apart does not leave it."
        )
    facts = CardFacts(
        name=exported.path.name,
        to=to,
        task=predictor.task,
        checkpoint=content,
        licenses=_licenses(predictor.task, config),
        config=_short_config(config),
        evaluation=_measured(predictor, config, missing) if measures else None,
        record=_record(checkpoint, missing),
        seconds=_seconds(checkpoint),
        lines=exported.lines,
        missing=missing,
    )
    path = card_path(exported.path)
    write_whole(path, model_card(facts))
    return path


def _licenses(task: ImageTask, config: Mapping[str, Any]) -> Licenses:
    weights = str(task.task_config["backbone"]["init_args"]["weights"])
    found = "" if weights == "random" else weights_license(task.backbone.name, weights) or UNKNOWN
    return Licenses(found, *data_license(config.get("data", {})))


def _measured(
    predictor: Predictor, config: Mapping[str, Any], missing: list[str]
) -> MeasuredSplit | None:
    section = config.get("data")
    if section is None:
        missing.append("How well it does: the checkpoint does not say which images it is of.")
        return None
    given = {"data_config": predictor.task.data_config, "class_names": None}
    try:
        data = make_section("data", {**section, "init_args": {**section["init_args"], **given}})
        take_labels_(data, predictor.task)
        return measure_split(predictor, data, with_probe=False)
    except (OSError, ValueError) as error:  # What is wrong with the images.
        reason = str(error).strip().splitlines()[-1]
        missing.append(f"How well it does: the images of the run cannot be read. {reason}")
        return None


def _record(checkpoint: Path, missing: list[str]) -> RunRecord | None:
    run_dir = resumed_run_dir(checkpoint)
    if run_dir is None:
        missing.append("The course of the training: the checkpoint lies in no run directory.")
        return None
    return read_run(run_dir)


def _seconds(checkpoint: Path) -> float | None:
    run_dir = resumed_run_dir(checkpoint)
    status = None if run_dir is None else read_status(run_dir)
    return status.seconds or None if status else None


def _short_config(config: Mapping[str, Any]) -> str:
    """Return the configuration in short YAML, with the folders of this machine left out."""
    if not config:
        return ""
    weights = config["model"]["backbone"]["init_args"]["weights"]
    return short_yaml(_without_folders(config), _without_folders(weights))


def _without_folders(value: Any) -> Any:
    """Return plain data with absolute paths cut to their last part: a card is shown to others."""
    if isinstance(value, Mapping):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    is_path = isinstance(value, str) and Path(value).expanduser().is_absolute()
    return f".../{Path(value).name}" if is_path else value
