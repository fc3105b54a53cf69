"""Progress on the terminal: a bar while an epoch runs, one line when it is done."""

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from tltool._progress import is_notebook

_MEASURES = ("loss", "accuracy", "map", "mae")  # as far as they are measured


class EpochBar(TQDMProgressBar):
    """Show a bar that goes away at its end, for `EpochLines` leaves the numbers.

    Where nobody watches there is no bar; in a notebook, which keeps what a second bar has left,
    there is none of a validation.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Draw no bar into a file or a pipe."""
        super().setup(trainer, pl_module, stage)
        if not (sys.stderr.isatty() or is_notebook()):
            self.disable()

    def init_sanity_tqdm(self) -> Tqdm:
        """Return the bar of the check before training."""
        return Tqdm(disable=True) if is_notebook() else super().init_sanity_tqdm()

    def init_validation_tqdm(self) -> Tqdm:
        """Return the bar of a validation."""
        return Tqdm(disable=True) if is_notebook() else super().init_validation_tqdm()

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Count epochs from 1, as all else does."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}")

    def init_train_tqdm(self) -> Tqdm:
        """Return a bar that disappears at its end."""
        bar = super().init_train_tqdm()
        bar.leave = False
        return bar

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return nothing for the bar itself: the numbers are in the epoch's line."""
        return {}


class EpochLines(Callback):
    """Leave one line of metrics for each epoch; it works beside any progress bar."""

    def __init__(self) -> None:
        self._begun: tuple[int, float] | None = None  # an epoch, and when
        self._has_validated = False  # in this epoch

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        """Start the clock; an epoch resumed in its middle gets no `on_train_epoch_start`."""
        if trainer.fit_loop.restarted_mid_epoch:
            self._begin(trainer)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Print the line of the epoch before, and start the clock."""
        self._print_line(trainer)
        self._begin(trainer)

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        """Note that the epoch has numbers of a validation."""
        self._has_validated = True

    def on_train_end(self, trainer: Trainer, *args: Any) -> None:
        """Print the line of the last epoch."""
        self._print_line(trainer)

    def _begin(self, trainer: Trainer) -> None:
        self._begun, self._has_validated = (trainer.current_epoch, time.monotonic()), False

    def _print_line(self, trainer: Trainer) -> None:
        # Not in on_train_epoch_end: the module logs its training metrics after the callbacks' turn.
        if self._begun is None or not trainer.is_global_zero:
            return
        # Metrics stay where they are until the next validation.
        stages = ("train", "val") if self._has_validated else ("train",)
        names = [f"{stage}/{name}" for stage in stages for name in _MEASURES]
        metrics = trainer.callback_metrics
        values = "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)
        (epoch, start), self._begun = self._begun, None
        place, seconds = f"{epoch + 1}/{trainer.max_epochs}", time.monotonic() - start
        Tqdm.write(f"epoch {place}  {values}  {seconds:.0f} s", file=sys.stdout)
