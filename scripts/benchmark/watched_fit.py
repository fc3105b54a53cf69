"""`tltool fit` in this process, watched by callbacks of a benchmark."""

import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tltool.cli.build import build
from tltool.cli.fit import fit
from tltool.cli.process import set_up_process
from tltool.cli.run_start import begin
from tltool.cli.sections import experiment_parser


class BatchClock(Callback):
    """Notes when each training batch ended, and how many images it had."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, int]] = []

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See ``Callback``."""
        self.ends.append((time.perf_counter(), len(batch["labels"])))


class KeptTrainer(Callback):
    """Keeps the Trainer that `fit` makes."""

    trainer: Trainer

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See ``Callback``."""
        self.trainer = trainer


def watched_fit(options: Sequence[str], *callbacks: Callback) -> Trainer:
    """Run ``tltool fit`` without its output, its run in a folder that is deleted.

    Args:
        options: Of the command line, without ``--runs_dir``.
        *callbacks: Come behind those of ``fit``.

    Returns:
        The Trainer after the fit.
    """
    set_up_process()
    parser = experiment_parser("fit")
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        config = parser.parse_args([*options, "--runs_dir", runs])
        experiment = build(parser, config, begin(parser, config))
        kept = KeptTrainer()
        given = experiment.made.trainer.callbacks or []
        experiment.made.trainer.callbacks = [*given, kept, *callbacks]
        fit(experiment)
    return kept.trainer
