"""Lightning callback for ``config.yaml``: what counts now, and what counted before."""

from itertools import count
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from tltool._atomic_write import write_whole
from tltool.training.checkpoint_io import CONFIG


class ConfigFile(Callback):
    """Keep the configuration of a run in its directory, as ``config.yaml``, and in checkpoints.

    Where a run is resumed with another one, what counted until then stays as ``config.1.yaml``, and
    that of a later change as ``config.2.yaml``.

    Args:
        file: Where.
        text: The configuration as YAML.
    """

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.text = text

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file: a checkpoint that does not fit is refused by now."""
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.file.parent.mkdir(parents=True, exist_ok=True)
            before = self.file.read_text("utf-8") if self.file.is_file() else self.text
            if yaml.safe_load(before) != yaml.safe_load(self.text):
                write_whole(self._next_earlier(), before)
            write_whole(self.file, self.text)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the configuration, which a resumed run is compared with."""
        checkpoint[CONFIG] = yaml.safe_load(self.text)

    def _next_earlier(self) -> Path:
        names = (f"{self.file.stem}.{number}{self.file.suffix}" for number in count(1))
        return next(path for path in map(self.file.with_name, names) if not path.exists())
