"""`tltool.fit`: a whole run from Python, with all that the command line makes."""

import dataclasses
import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tltool.cli.build import Experiment
from tltool.cli.fit import fit as train
from tltool.cli.fit import run_fit
from tltool.cli.parser import WrongUsage
from tltool.cli.report import PAGE, report
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.inference.loading import load
from tltool.inference.predictor import Predictor
from tltool.models.serialization import plain
from tltool.training.distributed.signals import SIGNALS, SignalStopped, stop_message


@dataclass(frozen=True)
class FinishedRun:
    """A run that has trained.

    Attributes:
        run_dir: Its directory: ``config.yaml``, ``metrics.csv``, ``health.csv``, ``checkpoints``.
    """

    run_dir: Path

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint; the last one of a run without validation."""
        best = self.run_dir / "checkpoints" / "best.ckpt"
        return best if best.is_file() else best.with_name("last.ckpt")

    def load(self) -> Predictor:
        """Return what predicts with the checkpoint."""
        return load(self.checkpoint)

    def report(self) -> Path:
        """Write the page of `tltool report` into the run directory, and return its path."""
        report([self.run_dir])
        return self.run_dir / PAGE


def fit(root: str | Path | None = None, /, **sections: Any) -> FinishedRun:
    """Fine-tune a backbone as ``tltool fit`` does, and return the run.

    It has what a command has: a run directory with the configuration, the closed-form probe and the
    gain over it, alarms about the network's health, W&B where ``wandb`` names a project, a clean
    stop at a signal. The parts alone, to be put together by hand, are `ImageTask`, `Finetuning`,
    `FeatureCaching` and `HealthMonitor`.

    Args:
        root: A directory of images; short for ``data={"root": ...}``.
        **sections: The configuration, as a YAML file has it. A class stands for its name, also one
            of your own; so does `functools.partial` of one for a name with arguments, and a
            strategy such as ``tltool.LPFT(probe_epochs=1)`` for its own.

    Raises:
        ValueError: If the configuration is wrong; the message says what to write.
        TypeError: If a value is none of them: what is written down beside the run makes it again.
        KeyboardInterrupt: If a signal has stopped training; a call with the same ``run_dir`` goes
            on.

    Example:
        >>> fit("images", model={"bakbone": {"name": "resnet18"}})
        Traceback (most recent call last):
        ...
        ValueError: ...bakbone...
    """
    config = plain(_described(sections), "fit")
    if root is not None:
        config["data"] = {"root": str(root), **config.get("data", {})}
    made: list[Experiment] = []

    def run(experiment: Experiment, **options: Any) -> None:
        made.append(experiment)
        train(experiment, **options)

    try:
        with tempfile.TemporaryDirectory() as folder, SIGNALS.installed():
            file = Path(folder, "config.yaml")
            file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
            run_fit(["--config", str(file)], run, shows_yaml=False)
    except WrongUsage as wrong:
        raise ValueError(wrong.message) from None
    except SignalStopped as stop:
        raise KeyboardInterrupt(stop_message(stop)) from None
    return FinishedRun(made[0].run_dir if made else Path(config["run_dir"]))


def _described(value: Any) -> Any:
    """Return what YAML would say: paths as text, classes by name, calls of them with arguments."""
    if isinstance(value, Mapping):
        return {key: _described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return _described_object(value)


def _described_object(value: Any) -> Any:
    if isinstance(value, type):
        return _class_path(value)
    if isinstance(value, functools.partial) and isinstance(value.func, type) and not value.args:
        return {"class_path": _class_path(value.func), "init_args": _described(value.keywords)}
    if not dataclasses.is_dataclass(value):
        return value  # Plain data, or refused by its place.
    fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if not isinstance(value, FinetuningStrategy):  # A part of one, such as a phase.
        return _described(fields)
    return {"class_path": _class_path(type(value)), "init_args": _described(fields)}


def _class_path(cls: type) -> str:
    if "<locals>" in cls.__qualname__:
        raise ValueError(
            f"{cls.__qualname__} is a class inside a function, which nothing can import again. "
            "Define it at the top of a module or of a notebook."
        )
    return f"{cls.__module__}.{cls.__qualname__}"
