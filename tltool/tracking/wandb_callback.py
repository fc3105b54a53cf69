"""The Lightning door of Weights & Biases: what a run is, how it does, and where it goes wrong."""

import logging
from pathlib import Path
from typing import Any, Literal

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from tltool.data.loader import BatchLoader, TrainingLoader
from tltool.evaluation.predictions import PredictionSet
from tltool.finetuning.callback import Finetuning
from tltool.monitoring.callback import HealthMonitor
from tltool.tasks.image_task import ImageTask
from tltool.tracking.run_facts import run_facts, run_name
from tltool.tracking.run_logger import RunLogger, alert, find_logger
from tltool.tracking.val_predictions import (
    PredictionCollector,
    gains_over_baselines,
    val_majority_correct,
    val_probe_correct,
)
from tltool.tracking.wandb_media import (
    log_augmented,
    log_checkpoints,
    log_errors,
    log_health,
    log_outcomes,
)

log = logging.getLogger(__name__)


class WandbTracking(Callback):
    """Tell a run on Weights & Biases what the loggers' metrics leave out.

    Its configuration, whole and as a flat block; a name that says what differs; the phases; the
    alarms of `HealthMonitor`; the baselines and the gain over them; and at the end how each class
    does. It does nothing where the trainer has no ``WandbLogger``. Photos and checkpoints go out
    only if the logger of `wandb_logger` was asked to. It stands behind `FeatureCaching` and
    `HealthMonitor` in the list of callbacks.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._logger: WandbLogger | None = None
        self._run: Any = None  # on the first rank only
        self._phase: str | None = None
        self._num_alarms = 0
        self._collector: PredictionCollector | None = None
        self._majority: Tensor | None = None
        # What a checkpoint keeps.
        self._begun: dict[str, Any] = {}
        self._probe: Tensor | None = None
        self._best: PredictionSet | None = None
        self._last: PredictionSet | None = None
        self._summary: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return which run this is, its best epoch, and what it is measured by."""
        if self._run is None:
            return {}
        best = None if self._best is None else vars(self._best).copy()
        return {
            "id": self._run.id,
            "probe": self._probe,
            "best": best,
            "summary": self._summary,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint keeps."""
        self._begun = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the run is, and go on where a resumed one was."""
        begun = self._begun
        self._reset()
        folder = trainer.log_dir  # On all ranks, for rank 0 tells it to the others.
        if not isinstance(pl_module, ImageTask):
            return
        self._logger = find_logger(trainer)
        if self._logger is None or not trainer.is_global_zero:
            return
        self._run = run = self._logger.experiment
        if begun.get("id") == run.id:
            self._probe = begun["probe"]
            self._best = PredictionSet(**begun["best"]) if begun["best"] else None
            self._summary = begun["summary"]
            run.summary.update(self._summary)
        if isinstance(self._logger, RunLogger):
            self._logger.go_on()
        facts = run_facts(trainer, pl_module)
        run.config.update(facts, allow_val_change=True)
        saved = None if folder is None else Path(folder) / "config.yaml"
        if saved is not None and saved.is_file():
            config = yaml.safe_load(saved.read_text(encoding="utf-8"))
            run.config.update({"config": config}, allow_val_change=True)
        place = self._logger.save_dir and Path(self._logger.save_dir).absolute()
        run.name = run_name(facts, f"{place.parent.name}/{place.name}" if place else run.project)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the baselines, which need no training."""
        monitor = _find(trainer, HealthMonitor)
        self._num_alarms = len(monitor.alarms) if monitor else 0  # Of a run that goes on.
        train, val = trainer.train_dataloader, trainer.val_dataloaders
        if self._run is None or not isinstance(pl_module, ImageTask):
            return
        if not (isinstance(train, TrainingLoader) and isinstance(val, BatchLoader)):
            return
        if self._sends("log_images"):
            log_augmented(self._run, train, pl_module.data_config)
        self._majority = val_majority_correct(train, val)
        if self._probe is None or len(self._probe) != len(self._majority):
            probe = val_probe_correct(train, val, len(pl_module.class_names))
            self._probe = probe if isinstance(probe, Tensor) else None
            if isinstance(probe, str):
                log.info("W&B: no closed-form probe to compare with: %s.", probe)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Mark the beginning of a phase."""
        self._mark_phase(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Pass alarms on."""
        self._pass_alarms_on(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass alarms on."""
        self._pass_alarms_on(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to note what is said of each photo."""
        loader = trainer.val_dataloaders
        counts = trainer.state.fn == "fit" and not trainer.sanity_checking
        self._collector = None
        if self._logger is not None and counts and isinstance(loader, BatchLoader):
            self._collector = PredictionCollector(loader, pl_module.device)

    def on_validation_batch_end(  # noqa: PLR0917  # Lightning's arguments
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note what is said of each photo."""
        if self._collector is not None and isinstance(outputs, dict) and "labels" in batch:
            self._collector.add(outputs["probabilities"], batch["labels"], batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the best epoch, and say how much better it is than the baselines."""
        if self._collector is None:
            return
        outcomes = self._collector.gather(trainer)
        if self._logger is None or self._run is None or len(outcomes) == 0:
            return
        self._last = outcomes
        if self._best is None or outcomes.accuracy > self._best.accuracy:
            self._best = outcomes
            groups = self._collector.dataset.samples.groups
            references = {"majority": self._majority, "probe": self._probe}
            compared = gains_over_baselines(outcomes, references, groups)
            self._summary = {"best/epoch": trainer.current_epoch, **compared}
            self._run.summary.update(self._summary)
        best = {"best/accuracy": self._best.accuracy}
        self._logger.log_metrics(best, trainer.global_step - 1)  # As Lightning counts in logs.
        self._keep_step()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how each class does in the best and in the last epoch."""
        if self._run is None or not isinstance(pl_module, ImageTask):
            return
        for section, outcomes in (("best", self._best), ("last", self._last)):
            if outcomes is not None:
                log_outcomes(self._run, section, outcomes, pl_module.class_names)
        loader = trainer.val_dataloaders
        if self._sends("log_images") and self._best is not None and isinstance(loader, BatchLoader):
            log_errors(self._run, self._best, loader, pl_module)
        if isinstance(self._logger, RunLogger):
            log_health(self._run, self._logger.run_folder / "health.csv")
            if self._sends("log_checkpoints"):
                log_checkpoints(self._run, self._logger.run_folder / "checkpoints")
        self._keep_step()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Note how far the run is."""
        if self._run is not None:
            self._keep_step()

    def _keep_step(self) -> None:
        if isinstance(self._logger, RunLogger):
            self._logger.keep_step()

    def _sends(self, option: Literal["log_images", "log_checkpoints"]) -> bool:
        return isinstance(self._logger, RunLogger) and bool(getattr(self._logger, option))

    def _mark_phase(self, trainer: Trainer) -> None:
        finetuning = _find(trainer, Finetuning)
        if self._logger is None or self._run is None:
            return
        if finetuning is None or finetuning.phase is None:
            return
        name = finetuning.phase.name
        if name == self._phase:
            return
        self._phase = name
        number = [phase.name for phase in finetuning.schedule.phases].index(name)
        self._logger.log_metrics({"phase": number}, trainer.global_step)
        self._run.summary["phase_name"] = name

    def _pass_alarms_on(self, trainer: Trainer) -> None:
        monitor = _find(trainer, HealthMonitor)
        if self._run is None or monitor is None:
            return
        for alarm in monitor.alarms[self._num_alarms :]:
            alert(self._run, f"{alarm.cause}: {alarm.layer}", str(alarm))
        self._num_alarms = len(monitor.alarms)


def _find(trainer: Trainer, kind: type[Any]) -> Any:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return next((each for each in callbacks if isinstance(each, kind)), None)
