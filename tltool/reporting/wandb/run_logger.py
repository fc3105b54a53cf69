"""Lightning logger for Weights & Biases: the charts of its metrics, and the count of its steps."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from wandb.sdk.lib.module import unset_globals

from tltool.reporting.wandb.begin_run import Mode, begin_run
from tltool.reporting.wandb.charts import ChartBudget
from tltool.reporting.wandb.lost_service import without_lost_service
from tltool.reporting.wandb.run_identity import RunIdentity, keep_identity

_AXIS = "trainer/global_step"
_AHEAD = 1000  # steps that the kept count is ahead of a run


class RunLogger(WandbLogger):
    """Log to Weights & Biases, at most `MOST_CHARTS` charts by itself, epochs counted from 1.

    See `wandb_logger`, which makes one.

    Args:
        run_dir: The run directory; W&B keeps its files there.
        identity: Which run it is; ``None`` on ranks that have none.
        mode: Whether to send the run.
        log_images: Whether images are sent.
        log_checkpoints: Whether checkpoints are sent.
        **options: Of ``wandb.init``: the project, group, tags, ...
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        identity: RunIdentity | None,
        mode: Mode = "online",
        log_images: bool = False,
        log_checkpoints: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            name=f"{run_dir.parent.name}/{run_dir.name}",
            save_dir=run_dir,
            id=identity and identity.id,
            resume="allow",
            mode=mode,  # `offline=True` would leak WANDB_MODE=dryrun.
            **options,
        )
        del self._wandb_init["anonymous"]  # W&B warns of it, set or not.
        self.run_dir = run_dir
        self.identity = identity
        self.mode = mode
        self.log_images = log_images
        self.log_checkpoints = log_checkpoints
        self._charts = ChartBudget()
        self._kept_step = 0

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, which begins here; see `begin_run` for where W&B does not let it."""
        if self._experiment is None:
            self._experiment, self.mode = begin_run(self._begin, self.run_dir, mode=self.mode)
        return self._experiment

    def _begin(self, *, mode: Mode) -> Any:
        self._wandb_init["mode"] = mode
        return super().experiment

    @rank_zero_only
    @without_lost_service
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics, and say at the first time how they are shown."""
        for chart in self._charts.charts([_AXIS, *metrics]):
            own_axis = None if chart.name == _AXIS else _AXIS
            self.experiment.define_metric(
                chart.name,
                step_metric=own_axis,
                step_sync=own_axis and True,
                hidden=chart.hidden or None,
            )
        if "epoch" in metrics:  # Lightning counts them from 0.
            metrics = {**metrics, "epoch": metrics["epoch"] + 1}
        super().log_metrics(metrics, step)
        if self._kept_step - self.experiment.step < _AHEAD // 2:
            self.keep_step(_AHEAD)

    @without_lost_service
    def restore_step(self) -> None:
        """Continue W&B's count of steps where a run that is resumed offline was."""
        if self.identity is not None and self.experiment.step < self.identity.step:
            self.experiment.log({}, step=self.identity.step)

    @rank_zero_only
    @without_lost_service
    def keep_step(self, ahead: int = 0) -> None:
        """Write into the run directory how far the run is.

        Args:
            ahead: Steps that are counted in advance, so that a kill leaves a count that no step
                is beyond: W&B ignores what comes with a step that it has seen.
        """
        run = self.experiment
        if self.identity is not None and not run.disabled:
            where = {"project": run.project or None, "entity": run.entity or None}
            self._kept_step = run.step + ahead
            keep_identity(self.run_dir, RunIdentity(self.identity.id, self._kept_step, **where))

    def describe(self) -> str:
        """Return one line that says what is sent where."""
        what = {
            "images": (self.log_images, "validation and augmented training images"),
            "checkpoints": (self.log_checkpoints, "checkpoints"),
        }
        sent = "".join(f", {words}" for is_sent, words in what.values() if is_sent)
        kept = "".join(f", no {name}" for name, (is_sent, _) in what.items() if not is_sent)
        verb = "keeps offline" if self.mode == "offline" else "sends"
        return f"{self.name}: {verb} metrics, configuration{sent}{kept}"


def find_logger(trainer: Trainer) -> WandbLogger | None:
    """Return the trainer's logger to Weights & Biases, if it has one."""
    return next((each for each in trainer.loggers if isinstance(each, WandbLogger)), None)


@contextmanager
def files_beside(run: Any) -> Iterator[None]:
    """Keep what an offline run is to send later beside it, not in the user's home."""
    if not run.offline or "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(Path(run.dir).absolute().parents[1])
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


@rank_zero_only
@without_lost_service
def log_summary(trainer: Trainer, values: Mapping[str, Any]) -> None:
    """Add values to the summary of the run, if there is one."""
    logger = find_logger(trainer)
    if logger is not None:
        logger.experiment.summary.update(dict(values))


@rank_zero_only
@without_lost_service
def log_checkpoints(trainer: Trainer) -> None:
    """Send the last and the best checkpoint as versions of one artifact, if that was asked for.

    It stands behind all that changes them, see `tltool.cli.fit`: a run that is stopped before sends
    none, and the one that resumes it does.
    """
    logger = find_logger(trainer)
    if not isinstance(logger, RunLogger) or not logger.log_checkpoints:
        return
    run = logger.experiment
    with files_beside(run):
        for name in ("last", "best"):  # The newest version has the alias ``latest``.
            path = logger.run_dir / "checkpoints" / f"{name}.ckpt"
            if path.is_file():
                artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model")
                artifact.add_file(str(path))
                run.log_artifact(artifact, aliases=[name])


@rank_zero_only
@without_lost_service
def finish(trainer: Trainer) -> None:
    """End the run, so that a later one in this process is another; one that never began is none."""
    logger = find_logger(trainer)
    if logger is not None and logger._experiment is not None:
        try:
            logger.experiment.finish()
        finally:
            # A run that is lost would stay the one of this process.
            unset_globals()  # type: ignore[no-untyped-call]
