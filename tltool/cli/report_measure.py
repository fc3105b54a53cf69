"""What `tltool report` finds out about a run: its predictions, its baselines, its phases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tltool.cli.build import make_section
from tltool.cli.trainer_section import max_steps, steps_per_epoch
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.files.decoding import decode_image
from tltool.finetuning.plan import Plan, make_plan
from tltool.inference.predictor import Predictor
from tltool.inference.split_measurement import measure_split
from tltool.models.layer_groups import layer_groups
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_record import RunRecord, read_run
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.image_task import ImageTask

_NO_CHECKPOINT = (
    "There is no checkpoint: the run was stopped before training began, so there is nothing to "
    "measure."
)


class _Newest(NamedTuple):
    """What the newest checkpoint says about how far the training came."""

    steps: int
    content: dict[str, Any]


def run_data(section: Mapping[str, Any], task: ImageTask) -> ImageDataModule:
    """Make the data of a run, with the preprocessing and the classes of its checkpoint."""
    given = {"data_config": task.data_config, "class_names": task.class_names}
    init_args = {**section["init_args"], **given}
    data: ImageDataModule = make_section("data", {**section, "init_args": init_args})
    return data


def measure_run(folder: Path, *, with_probe: bool = True) -> MeasuredRun:
    """Read a run, let its checkpoint predict the images that measure it, and fit the baselines.

    What is not there any more, or was never written, is said in `MeasuredRun.missing`.

    Args:
        folder: The run's folder.
        with_probe: Fit the closed-form probe, which needs features of all images.

    Raises:
        FileNotFoundError: If it is no run's folder.
    """
    record = read_run(folder)
    if record.checkpoint is None:
        planned = f"tltool plan --config {folder / 'config.yaml'} says what was to train when."
        return MeasuredRun(record, f"{_NO_CHECKPOINT} {planned}", missing=[_NO_CHECKPOINT])
    task = ImageTask.load_from_checkpoint(record.checkpoint)
    newest = _newest(record)
    missing: list[str] = []
    data = evaluation = None
    try:
        data = run_data(record.config["data"], task)
        caching = record.config.get("features", {})
        evaluation = measure_split(Predictor(task), data, with_probe=with_probe, caching=caching)
        # As on one device.
        planned_steps = steps_per_epoch(
            record.config["trainer"], len(data.samples("train")), data.batch_size
        )
    except (OSError, ValueError) as error:  # What is wrong with the images.
        # A loader's worker sends its error as text, with the traceback in front.
        reason = str(error).strip().splitlines()[-1]
        missing.append(f"The images cannot be read, so nothing was measured: {reason}")
        planned_steps = None
    steps = record.steps_per_epoch or planned_steps
    measured = ""
    if not record.has_best:
        step = read_checkpoint(record.checkpoint)["global_step"]
        measured = (
            f"The last checkpoint, after {step:,} steps: no validation has chosen a best one."
        )
        missing.append("There is no best checkpoint, so the last one is measured.")
    ended = _ended_phases(newest.content)
    plan = _plan(record, task, newest.content, steps)
    last = plan.phases[-1].phase.name if isinstance(plan, Plan) else None
    return MeasuredRun(
        record=record,
        plan=plan,
        evaluation=evaluation,
        measured=measured,
        decode=decode_image if data is None else data.decoder,
        mode="L" if task.data_config["input_size"][0] == 1 else "RGB",
        epochs_done=newest.steps / steps if steps else record.epochs_done,
        has_ended=last in ended,
        missing=missing,
    )


def _newest(record: RunRecord) -> _Newest:
    last = record.run_dir / "checkpoints" / "last.ckpt"
    path = last if last.is_file() else record.checkpoint
    assert path is not None  # noqa: S101  # the caller has looked
    content = read_checkpoint(path)
    seen = max(record.steps.values(), default=-1) + 1
    return _Newest(max(int(content["global_step"]), seen), content)


def _plan(
    record: RunRecord, task: ImageTask, checkpoint: Mapping[str, Any], steps: int | None
) -> Plan | str:
    if steps is None:
        return (
            "How many steps an epoch has is not known: none was finished, and the images are gone."
        )
    try:
        return _make_plan(record, task, checkpoint, steps)
    except ValueError as error:
        return f"The phases cannot be laid out: {error}"


def _make_plan(
    record: RunRecord, task: ImageTask, checkpoint: Mapping[str, Any], steps: int
) -> Plan:
    """Work out what trained when, as far as the checkpoint knows which phases have ended."""
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
        ended=_ended_phases(checkpoint),
    )


def _ended_phases(checkpoint: Mapping[str, Any]) -> dict[str, int]:
    """Return the epoch in front of which a metric ended a phase, by the phase's name."""
    ended: dict[str, int] = checkpoint.get("callbacks", {}).get("Finetuning", {}).get("ended", {})
    return ended
