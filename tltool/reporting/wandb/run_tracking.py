"""Lightning callback for Weights & Biases: configuration, phases, alarms, baseline, classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.evaluation.predictions import PredictionSet
from tltool.reporting.wandb import media
from tltool.reporting.wandb.kept_epoch import is_kept
from tltool.reporting.wandb.lost_service import without_lost_service
from tltool.reporting.wandb.run_logger import RunLogger, find_logger
from tltool.reporting.wandb.step_metrics import StepMetrics
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.health_monitor import HealthMonitor
from tltool.training.find_callback import find_callback
from tltool.training.image_task import ImageTask
from tltool.training.run_facts import run_facts, run_name
from tltool.training.val_predictions import (
    PredictionCollector,
    gains_over_baselines,
    val_majority_correct,
)


class WandbTracking(Callback):
    """Log what the metrics of a run on Weights & Biases leave out.

    Its configuration, whole and as a flat block; a name that says what differs; the phases; loss,
    gradient and throughput by step; the alarms of `HealthMonitor`; the majority class and the gain
    over it; the metrics of the best epoch; and at the end per-class metrics. It does nothing where
    the trainer has no ``WandbLogger``. Images are sent only if `wandb_logger` was asked to, and so
    are checkpoints, by `log_checkpoints`. It stands behind `HealthMonitor` in the list of
    callbacks. What is measured behind training, such as the gain over a probe, `tltool fit` logs.

    Args:
        config: The whole configuration, as plain data; ``None`` for the flat block alone.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._config = config
        self._restored: dict[str, Any] = {}
        self._reset()

    def _reset(self) -> None:
        self._logger: WandbLogger | None = None
        self._run: Any = None  # on the first rank only, as the task
        self._task: ImageTask | None = None
        self._steps = StepMetrics()
        self._phase: str | None = None
        self._num_alarms = 0
        self._collector: PredictionCollector | None = None
        self._majority: Tensor | None = None
        self._last: PredictionSet | None = None
        # What a checkpoint keeps.
        self._best: PredictionSet | None = None
        self._summary: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return which run this is, and its best epoch."""
        if self._run is None:
            return {}
        best = None if self._best is None else vars(self._best).copy()
        return {"id": self._run.id, "best": best, "summary": self._summary}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint keeps."""
        self._restored = state_dict

    @without_lost_service
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the configuration and name of the run, and restore the state of a resumed one."""
        restored, self._restored = self._restored, {}
        self._reset()
        if not isinstance(pl_module, ImageTask):
            return
        self._logger = find_logger(trainer)
        if self._logger is None or not trainer.is_global_zero:
            return
        self._task, self._run = pl_module, self._logger.experiment
        if restored.get("id") == self._run.id:
            self._summary = restored["summary"]
            self._best = restored["best"] and PredictionSet(**restored["best"])
            self._run.summary.update(self._summary)
        if isinstance(self._logger, RunLogger):
            self._logger.restore_step()
        facts = run_facts(trainer, pl_module)
        if self._config is not None:
            facts["config"] = self._config
        self._run.config.update(facts, allow_val_change=True)
        place = self._logger.save_dir and Path(self._logger.save_dir).absolute()
        name = f"{place.parent.name}/{place.name}" if place else self._run.project
        self._run.name = run_name(facts, name)

    @without_lost_service
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the majority class, which needs no training."""
        monitor = find_callback(trainer, HealthMonitor)
        self._num_alarms = len(monitor.alarms) if monitor else 0  # Of a resumed run.
        train, val = trainer.train_dataloader, trainer.val_dataloaders
        if self._task is None or not isinstance(train, TrainingLoader):
            return
        if not isinstance(val, BatchLoader):
            return
        if self._sends_images:
            media.log_augmented(self._run, train, self._task.data_config)
        if self._task.objective != "single_label":
            return  # The tables are of one class for each image.
        self._majority = val_majority_correct(train, val)

    @without_lost_service
    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """Log the number of a phase that begins, and its name."""
        finetuning = find_callback(trainer, Finetuning)
        phase = finetuning and finetuning.phase
        if self._logger is None or self._run is None or not (finetuning and phase):
            return
        if phase.name != self._phase:
            self._phase = phase.name
            number = [each.name for each in finetuning.schedule.phases].index(phase.name)
            self._logger.log_metrics({"phase": number}, trainer.global_step)
            self._run.summary["phase_name"] = phase.name

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Count images and seconds anew."""
        self._steps.begin_clock()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any
    ) -> None:
        """Note the norm of the gradients, on all ranks."""
        if self._logger is not None:
            self._steps.before_optimizer_step(trainer, pl_module)

    @without_lost_service
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Log the metrics of a step, and send new alarms."""
        metrics = self._steps.after_batch(trainer, outputs, batch)
        if self._logger is not None and metrics is not None:  # Only the first rank's logs.
            self._logger.log_metrics(metrics, trainer.global_step - 1)
        self._send_alarms(trainer)

    def _send_alarms(self, trainer: Trainer) -> None:
        monitor = find_callback(trainer, HealthMonitor)
        if self._run is None or monitor is None:
            return
        for alarm in monitor.alarms[self._num_alarms :]:
            # W&B takes at most 64 characters, and passes it on by mail or Slack.
            title = f"{alarm.cause}: {alarm.layer}"[:64]
            self._run.alert(title=title, text=str(alarm), level="WARN")
        self._num_alarms = len(monitor.alarms)

    @without_lost_service
    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        """Send new alarms."""
        self._send_alarms(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to collect the predictions."""
        loader = trainer.val_dataloaders
        counts = trainer.state.fn == "fit" and not trainer.sanity_checking
        self._collector = None
        # Of the module, which all ranks know: they collect together, or none of them does.
        is_single = isinstance(pl_module, ImageTask) and pl_module.objective == "single_label"
        if self._logger is not None and counts and is_single and isinstance(loader, BatchLoader):
            self._collector = PredictionCollector(loader, pl_module.device)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Collect the predictions of a batch."""
        if self._collector is not None and isinstance(outputs, dict) and "labels" in batch:
            self._collector.add(outputs["probabilities"], batch["labels"], args[0])

    @without_lost_service
    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        """Keep the best epoch and its metrics, and log its gain over the majority class."""
        self._steps.begin_clock()
        if self._collector is None:
            return
        predictions = self._collector.gather(trainer)
        assert isinstance(predictions, PredictionSet)  # noqa: S101  # no other is collected
        if self._logger is None or self._run is None or len(predictions) == 0:
            return
        self._last = predictions
        found = {
            name.replace("val/", "best/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        if self._best is None or is_kept(trainer, found, self._summary):
            self._best = predictions
            groups = self._collector.dataset.samples.groups
            compared = gains_over_baselines(predictions, {"majority": self._majority}, groups)
            self._summary = {**found, "best/epoch": trainer.current_epoch + 1, **compared}
            self._run.summary.update(self._summary)
        best = {"best/accuracy": self._best.accuracy}
        self._logger.log_metrics(best, trainer.global_step - 1)  # As Lightning counts in logs.
        self._keep_step()

    @without_lost_service
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log per-class metrics of the best and of the last epoch, and what `Ending` has chosen."""
        if self._task is None:
            return
        ending = find_callback(trainer, Ending)
        if ending is not None:
            self._run.summary.update(ending.summary)
        for section, predictions in (("best", self._best), ("last", self._last)):
            if predictions is not None:
                media.log_predictions(self._run, section, predictions, self._task.class_names)
        loader = trainer.val_dataloaders
        if self._sends_images and self._best is not None and isinstance(loader, BatchLoader):
            media.log_errors(self._run, self._best, loader, self._task)
        if isinstance(self._logger, RunLogger):
            media.log_health(self._run, self._logger.run_dir / "health.csv")
        self._keep_step()

    def on_exception(self, *args: Any) -> None:
        """Keep W&B's count of steps."""
        if self._run is not None:
            self._keep_step()

    def _keep_step(self) -> None:
        if isinstance(self._logger, RunLogger):
            self._logger.keep_step()

    @property
    def _sends_images(self) -> bool:
        return isinstance(self._logger, RunLogger) and self._logger.log_images
