"""Lightning callback for network health: samples steps, writes a table, and raises alarms."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.data.loading.batch_loader import BatchLoader
from tltool.diagnostics.health.alarm_table import AlarmTable
from tltool.diagnostics.health.alarms import SETTLED_AFTER, Alarm, find_alarms
from tltool.diagnostics.health.health_table import HealthTable, worst
from tltool.diagnostics.health.health_watch import Watch
from tltool.diagnostics.health.phase_loss import PhaseLoss, Stage
from tltool.diagnostics.health.unit_window import EVERY, is_sampled
from tltool.finetuning.phase import KEEPS_STATISTICS, Phase
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.distributed.collectives import sum_over_ranks
from tltool.training.find_callback import find_callback
from tltool.training.measured_classifier import MeasuredClassifier

log = logging.getLogger(__name__)

_WINDOW = 1000  # images that a window sees at least, unless the epoch ends before


class HealthMonitor(Callback):
    """Watch activations, gradients and updates of the head; report problems with suggested fixes.

    Looked at are the first steps, more and more rarely, and then every so many. Each layer of each
    window is a row of ``health.csv`` in the run directory, and each alarm one of ``alarms.csv``;
    the worst layer goes to the loggers. While the head reads cached features, every step notes
    which units were live, so that the share of dead units is exact: never active on any training
    image of the epoch. Otherwise it is an estimate over the window. A phase that begins by losing
    accuracy, of the validation or of training, raises an alarm too, see `PhaseLoss`.

    Args:
        enabled: Whether it does anything.
        every: Steps between two that are looked at.
        backbone: Watch the backbone too, where it trains; that takes more time.

    Raises:
        ValueError: If ``every`` is less than 1.
    """

    def __init__(self, *, enabled: bool = True, every: int = EVERY, backbone: bool = False) -> None:
        if every < 1:
            raise ValueError(f"`every` must be at least 1, got {every}. Set --health.every 50.")
        self.enabled = enabled
        self.every = every
        self.backbone = backbone
        #: All alarms of the run, each cause once.
        self.alarms: list[Alarm] = []
        self._watches: list[Watch] = []
        self._phase_losses = {stage: PhaseLoss(stage=stage) for stage in get_args(Stage)}
        self._tables: tuple[HealthTable, AlarmTable] | None = None
        self._is_whole_epoch = False
        self._step = -1
        self._num_images = 0  # that this rank's window has seen

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put hooks on the layers."""
        if not self.enabled or trainer.fast_dev_run:  # type: ignore[attr-defined]  # a connector's
            return
        names = ("backbone", "head") if self.backbone else ("head",)
        self._watches = [Watch(pl_module.get_submodule(name), name) for name in names]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the tables; those of a resumed run lose the rows that are written again."""
        log_dir = trainer.log_dir  # On all ranks, for rank 0 tells it to the others.
        if self._watches and trainer.is_global_zero and log_dir and Path(log_dir).is_dir():
            self._tables = HealthTable(Path(log_dir)), AlarmTable(Path(log_dir))
            for table in self._tables:
                table.drop_from(trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the hooks."""
        for watch in self._watches:
            watch.remove()
        self._watches = []

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Remove the hooks."""
        self.teardown(trainer, pl_module, "fit")

    def on_train_epoch_start(self, *args: Any) -> None:
        """Begin to note live units."""
        self._is_whole_epoch = False
        for watch in self._watches:
            watch.dead_in_epoch()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at this step, or not."""
        if batch_idx == 0:  # Not where a run is resumed in the middle of an epoch.
            self._is_whole_epoch = True
        # With accumulated gradients a step has several batches, and is looked at as one.
        sampled = is_sampled(trainer.global_step, self.every)
        for watch in self._watches:
            watch.notes_live_units = "features" in batch
            if trainer.global_step != self._step:
                watch.begin_step(is_sampled=sampled)
        self._step = trainer.global_step
        self._num_images += len(batch["labels"]) if sampled else 0

    def on_before_optimizer_step(self, *args: Any) -> None:
        """Look at the gradients."""
        for watch in self._watches:
            watch.after_backward()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Look at the updates; close the window when it has seen enough."""
        if trainer.global_step == self._step:
            return  # Gradients are still being accumulated.
        for watch in self._watches:
            watch.end_step()
        if self._watches and self._num_images * trainer.world_size >= _WINDOW:
            self._close(trainer, exact=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the window, and look whether a phase has begun by losing accuracy."""
        if not self._watches:
            return
        self._close(trainer, exact=self._is_whole_epoch)
        if isinstance(pl_module, MeasuredClassifier):  # It logs them behind this, from its cache.
            self._look(trainer, pl_module, "train", pl_module.metrics_of("train").compute())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look whether a phase has begun by losing accuracy."""
        if self._watches and not trainer.sanity_checking:
            self._look(trainer, pl_module, "val", trainer.callback_metrics)

    def _look(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        stage: Stage,
        metrics: Mapping[str, Any],
    ) -> None:
        finetuning = find_callback(trainer, Finetuning)
        phase = finetuning.phase if finetuning else None
        if phase is None:
            return
        loader = trainer.val_dataloaders if stage == "val" else trainer.train_dataloader
        alarm = self._phase_losses[stage].look(
            phase.name,
            metrics,
            num_images=len(loader.images.dataset) if isinstance(loader, BatchLoader) else None,  # type: ignore[arg-type]
            by_batch=_normalizes_by_batch(phase, pl_module),
        )
        known = {(each.cause, each.layer) for each in self.alarms}
        if alarm and (alarm.cause, alarm.layer) not in known and trainer.is_global_zero:
            self._raise(trainer, trainer.global_step - 1, [alarm])

    def state_dict(self) -> dict[str, Any]:
        """Return the last accuracies, and the alarms, which a resumed run does not repeat."""
        alarms = [[a.cause, a.layer, a.message] for a in self.alarms]
        phases = {stage: vars(loss).copy() for stage, loss in self._phase_losses.items()}
        return {"alarms": alarms, "phase_losses": phases}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the alarms of the run that is resumed, and its last accuracies."""
        self.alarms = [Alarm(*fields) for fields in state_dict["alarms"]]
        for stage, fields in state_dict.get("phase_losses", {}).items():
            self._phase_losses[stage] = PhaseLoss(**fields)

    def _close(self, trainer: Trainer, *, exact: bool) -> None:
        """Sum up the window over the ranks, write it to the tables, and raise alarms."""
        layers, norms = [], []
        self._num_images = 0
        for watch in self._watches:
            found, lags = watch.close(sum_over_ranks)
            dead = watch.dead_in_epoch(sum_over_ranks) if exact else {}
            for health in found:
                health.dead_in_epoch = dead.get(health.layer)
            layers += [health for health in found if health.is_seen]
            norms += lags
        if not trainer.is_global_zero or not layers:
            return
        step = trainer.global_step - 1  # The one that is done, as Lightning counts in logs.
        for logger in trainer.loggers:
            # Not by Lightning's `log_dict`, which takes longer than all the watching.
            logger.log_metrics(worst(layers, norms), step)
        is_last_epoch = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        is_at_end = is_last_epoch or 0 < trainer.max_steps <= trainer.global_step
        settled = is_at_end or trainer.global_step >= SETTLED_AFTER
        known = {alarm.cause for alarm in self.alarms}
        new = [a for a in find_alarms(layers, norms if settled else ()) if a.cause not in known]
        if self._tables is not None:
            self._tables[0].add(step, trainer.current_epoch, layers, norms)
        self._raise(trainer, step, new)

    def _raise(self, trainer: Trainer, step: int, new: list[Alarm]) -> None:
        """Keep new alarms, and say them; the first rank does."""
        self.alarms += new
        if self._tables is not None:
            self._tables[1].add(step, trainer.current_epoch, new)
        for alarm in new:
            log.warning("Health: %s", alarm)


def _normalizes_by_batch(phase: Phase, pl_module: LightningModule) -> bool:
    """Tell whether batch norms of the backbone get statistics in a phase that it was not given."""
    backbone = pl_module.get_submodule("backbone")
    has_norms = any(isinstance(module, _BatchNorm) for module in backbone.modules())
    trains_backbone = any(group != "head" for group in phase.groups)
    return has_norms and trains_backbone and phase.batch_norm not in KEEPS_STATISTICS
