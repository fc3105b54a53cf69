"""What `tltool report` finds out about a run: its predictions, its baselines, its phases."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from PIL.Image import Image

from tltool._plain_text import shell_command
from tltool.cli.build import make_section
from tltool.cli.task_labels import take_labels_
from tltool.cli.trainer_section import max_steps, steps_per_epoch
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.files.decoding import decode_image
from tltool.data.loading.image_dataset import Decoder, decode_with
from tltool.data.loading.samples import Splits
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.finetuning.plan import Plan, make_plan
from tltool.inference.class_maps import check_can_map, class_maps
from tltool.inference.map_measurement import measure_map
from tltool.inference.predictor import Predictor
from tltool.inference.refit_start import REFIT, learned_splits
from tltool.inference.split_measurement import measure_split
from tltool.models.feature_map import last_feature_map
from tltool.models.layer_groups import layer_groups
from tltool.reporting.figures.overlay import draw_overlay
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.measured_weights import describe_weights
from tltool.reporting.run_card import run_card
from tltool.reporting.run_record import RunRecord, read_run
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.distributed.run_status import read_status
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import image_differences, image_hashes


def measure_run(folder: Path, *, with_probe: bool = True, num_overlays: int = 0) -> MeasuredRun:
    """Read a run, let its checkpoint predict the images that measure it, and fit the baselines.

    What is not there any more, or was never written, is said in `MeasuredRun.missing`.

    Args:
        folder: The run's directory.
        with_probe: Fit the closed-form probe, which needs features of all images, and map those of
            the images that measure it.
        num_overlays: For how many images to find what speaks for the predicted class.

    Raises:
        FileNotFoundError: If it is no run's directory.
        ValueError: If overlays are asked for, and there is no checkpoint, a package is missing, the
            order of places in the network is not known, or it does not predict one class for each
            image.
    """
    record = read_run(folder)
    if record.checkpoint is None:
        why = "There is no checkpoint: the run was stopped before training began."
        if num_overlays:
            raise ValueError(f"--overlays are of a trained network. {why} Leave it out.")
        command = shell_command("tltool", "plan", "--config", folder / "config.yaml")
        return MeasuredRun(record, f"{why} {command} says what was to train when.", missing=[why])
    task = ImageTask.load_from_checkpoint(record.checkpoint)
    if num_overlays:  # What cannot be is said before the work.
        _check_overlays(task)
    data = evaluation = mapped = steps = None
    images, missing, overlays = "", list[str](), dict[int, Image]()
    try:
        section, trainer = record.config["data"], record.config["trainer"]
        given = {"data_config": task.data_config, "class_names": None}
        data = make_section("data", {**section, "init_args": {**section["init_args"], **given}})
        take_labels_(data, task)
        caching = record.config.get("features", {})
        predictor = Predictor(task, source=record.checkpoint)
        seed = record.config.get("seed_everything")
        evaluation = measure_split(
            predictor,
            data,
            with_probe=with_probe,
            caching=caching,
            seed=seed if type(seed) is int else 0,
        )
        if evaluation.no_probe:
            missing.append(f"No closed-form probe: {evaluation.no_probe}")
        missing += _changed_images(record, data.splits)
        if with_probe:
            mapped = measure_map(predictor, data, evaluation.split, caching=caching)
        overlays = _overlays(predictor, data, evaluation, num_overlays)
        # As on one device.
        steps = steps_per_epoch(trainer, len(data.samples("train")), data.batch_size)
        images = data.summary()
    except (OSError, ValueError) as error:  # What is wrong with the images.
        # A loader's worker sends its error as text, with the traceback in front.
        reason = str(error).strip().splitlines()[-1]
        missing.append(f"The images cannot be read, so nothing was measured: {reason}")
    steps = record.steps_per_epoch or steps
    if not record.has_best:
        missing.append("There is no best checkpoint, so the last one is measured.")
    last = folder / "checkpoints" / "last.ckpt"
    measured = newest = read_checkpoint(record.checkpoint)
    try:
        newest = read_checkpoint(last) if last.is_file() else measured
    except (OSError, ValueError) as error:
        missing.append(f"{error} How the run ended is taken from best.ckpt.")
    num_steps = max(newest["global_step"], *(step + 1 for step in record.steps.values()), 0)
    # The epoch in front of which a metric ended a phase, by the phase's name.
    ended = newest.get("callbacks", {}).get("Finetuning", {}).get("ended", {})
    plan = _plan(record, task, ended, steps)
    decode: Decoder = decode_image if data is None else data.decoder
    return MeasuredRun(
        record=record,
        plan=plan,
        evaluation=evaluation,
        feature_map=mapped,
        measured=describe_weights(
            record,
            measured,
            score=record.monitor_words,
        ),
        decode=partial(decode_with, decode, value_range=task.data_config.get("value_range")),
        mode="L" if task.data_config["input_size"][0] == 1 else "RGB",
        epochs_done=num_steps / steps if steps else record.epochs_done,
        has_ended=isinstance(plan, Plan) and plan.phases[-1].phase.name in ended,
        card=run_card(
            record.config,
            newest,
            images=images,
            input_size=task.data_config["input_size"],
            seconds=_seconds(folder),
        ),
        missing=missing,
        overlays=overlays,
    )


def _changed_images(record: RunRecord, splits: Splits) -> list[str]:
    """Say how the images differ from those that a run was trained and measured on, if they do."""
    assert record.checkpoint is not None  # noqa: S101  # it was measured
    before = read_checkpoint(record.checkpoint).get("run_facts", {}).get("images", {})
    if record.ending.get("candidate") == REFIT and "val" not in before:
        splits = learned_splits(splits)
    changed = image_differences(before, image_hashes(splits, before)) if before else []
    return [
        f"The images are not those of the run any more, {each.before} -> {each.now}: the score of "
        "images that were trained on is too good."
        for each in changed
    ]


def _seconds(folder: Path) -> float | None:
    """Return how long a run has run, over all starts; ``None`` where it has not said so."""
    status = read_status(folder)
    return status.seconds if status and status.seconds else None


def _check_overlays(task: ImageTask) -> None:
    check_can_map()
    if task.objective != "single_label":
        raise ValueError(
            "--overlays is of one class for each image, and this run's objective is "
            f"{task.objective}. Leave it out."
        )
    last_feature_map(task.backbone)


def _overlays(
    predictor: Predictor, data: ImageDataModule, found: MeasuredSplit, number: int
) -> dict[int, Image]:
    """Return pictures of what speaks for the predicted class, by the number of the image."""
    if not number or not isinstance(found.predictions, PredictionSet):
        return {}
    predictions = found.predictions
    least_sure = predictions.confidence.argsort().tolist()
    chosen = list(dict.fromkeys([*predictions.worst_errors(), *least_sure]))[:number]
    if not chosen:
        return {}
    paths = [found.paths[index] for index in chosen]
    labels = [found.class_names[predictions.predicted[index]] for index in chosen]
    maps = class_maps(predictor, paths, labels, decode=partial(decode_with, data.decoder))
    pictures = [draw_overlay(each.image, each.values) for each in maps]
    return dict(zip(chosen, pictures, strict=True))


def _plan(
    record: RunRecord, task: ImageTask, ended: Mapping[str, int], steps: int | None
) -> Plan | str:
    """Work out what trained when, as far as the checkpoint knows which phases have ended."""
    if steps is None:
        return "How many steps an epoch has is not known: none was finished, the images are gone."
    try:
        strategy = make_section("finetuning", record.config["finetuning"])
        schedule = strategy.resolved_schedule(list(layer_groups(task)), record.max_epochs)
        assert record.max_epochs is not None  # noqa: S101  # the schedule was checked against it
        task.make_optimizer = make_section("optimizer", record.config["optimizer"])
        return make_plan(
            task,
            task.make_optimizer,
            task.configure_optimizers(),
            schedule,
            steps_per_epoch=steps,
            max_epochs=record.max_epochs,
            max_steps=max_steps(record.config["trainer"]),
            ended=ended,
        )
    except ValueError as error:
        return f"The phases cannot be laid out: {error}"
