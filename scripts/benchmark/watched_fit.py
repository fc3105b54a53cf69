"""`tltool fit` in this process, watched by callbacks of a benchmark."""

import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer

from tltool.cli.fit import FitCLI, run_cli


class BatchClock(Callback):
    """Notes when each training batch ended, and how many photos it had."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, int]] = []

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See ``Callback``."""
        self.ends.append((time.perf_counter(), len(batch["labels"])))


def watched_fit(options: Sequence[str], *callbacks: Callback) -> Trainer:
    """Run ``tltool fit`` without its output, its run in a folder that is deleted.

    Args:
        options: Of the command line, without ``--runs_dir``.
        *callbacks: Come behind those of ``fit``.

    Returns:
        The Trainer after the fit.
    """
    trainers: list[Trainer] = []

    class WatchedCLI(FitCLI):
        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            trainer = super().instantiate_trainer(**kwargs)
            trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]  # set by a connector
            trainers.append(trainer)
            return trainer

    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        run_cli(WatchedCLI, ["fit", *options, "--runs_dir", runs])
    return trainers[0]
