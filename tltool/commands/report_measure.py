"""What `tltool report` finds out about a run: its predictions, its baselines, its phases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tltool.commands.run_objects import ended_phases, make_data, make_run_plan
from tltool.commands.trainer_section import steps_per_epoch
from tltool.data.files.decoding import decode_image
from tltool.finetuning.plan import Plan
from tltool.inference.predictor import Predictor
from tltool.inference.split_measurement import measure_split
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
        data = make_data(record.config, task)
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
    ended = ended_phases(newest.content)
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
    last = record.folder / "checkpoints" / "last.ckpt"
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
        return make_run_plan(record, task, checkpoint, steps)
    except ValueError as error:
        return f"The phases cannot be laid out: {error}"
