"""Methods that transfer.py judges, each in a process of its own that is timed as a whole."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from environments import interpreter
from image_sets import val_labels
from results import FOLDER, Row

from tltool.finetuning.strategies import STRATEGIES, Auto, ChosenGroups
from tltool.inference.loading import load
from tltool.models.backbone import Backbone
from tltool.reporting.run_record import read_run

PROBES = ("probe", "logistic")
STRATEGY_NAMES = tuple(each.__name__ for each in STRATEGIES if each not in (Auto, ChosenGroups))
OTHERS = ("fastai", "autotimm")
FIT = "fit"
AUGMENTED = "LastBlocks"
GROUPS: dict[str, tuple[str, ...]] = {
    "probes": PROBES,
    "strategies": STRATEGY_NAMES,
    "others": ("reference", *OTHERS),
    "augmentations": (
        AUGMENTED,
        *(
            f"{AUGMENTED}+data.augmentation={name}"
            for name in ("none", "flip", "flip_both", "color_jitter", "trivial_augment")
        ),
        f"{AUGMENTED}+data.augmentation=rand_augment",
        f"{AUGMENTED}+data.random_erasing=0.25",
        f"{AUGMENTED}+data.mixup=0.2",
        f"{AUGMENTED}+data.cutmix=1",
    ),
    "preprocessing": (
        "probe",
        *(
            f"probe+data.preprocessing={name}"
            for name in ("dataset", "center", "mean_image", "none")
        ),
        *(f"probe+model.backbone.stop_at=blocks.{block}" for block in (2, 4)),
    ),
}
"""Names for several methods. The first of the last two is what the others are compared with."""
GROUPS["all"] = (*PROBES, FIT, *STRATEGY_NAMES, *GROUPS["others"])
BASES = (*PROBES, FIT, *STRATEGY_NAMES, *GROUPS["others"])

HERE = Path(__file__).parent


class Cell(NamedTuple):
    """One measurement.

    Attributes:
        image_set: Name of the set.
        method: One of `BASES`; behind it, each after a ``+``, options of ``tltool fit``.
        seed: Of everything random.
        backbone: A timm model.
        img_size: In pixels.
    """

    image_set: str
    method: str
    seed: int
    backbone: str
    img_size: int

    @property
    def base(self) -> str:
        """The method without its options."""
        return self.method.split("+")[0]

    @property
    def options(self) -> list[str]:
        """Flags of ``tltool fit`` that the method adds."""
        return [f"--{option}" for option in self.method.split("+")[1:]]


def seeds_of(method: str, seeds: Sequence[int]) -> Sequence[int]:
    """Return the seeds that matter to a method: nothing is random in a probe."""
    return (0,) if method.startswith(PROBES) else seeds


def measure(cell: Cell, folder: Path) -> Row:
    """Return minutes, right and wrong validation images, and what was chosen.

    Args:
        cell: What to measure.
        folder: The images of its set.

    Raises:
        CalledProcessError: If the method's process fails; with what it wrote.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if cell.base in (FIT, *STRATEGY_NAMES):
            return _measure_fit(cell, folder, Path(scratch))
        return _measure_job(cell, folder, scratch)


def common_flags(cell: Cell, folder: Path) -> list[str]:
    """Return the flags of ``tltool`` that a cell is about; all else is at its default."""
    return [
        f"--data.root={folder.absolute()}",
        f"--model.backbone.name={cell.backbone}",
        f"--model.backbone.img_size={cell.img_size}",
        f"--seed_everything={cell.seed}",
        *([f"--finetuning={cell.base}"] if cell.base in STRATEGY_NAMES else []),
        *(["--finetuning=LinearProbe"] if cell.base in PROBES else []),  # `Auto` splits otherwise.
        *cell.options,
    ]


def correct(predicted: dict[str, str], folder: Path) -> str:
    """Return ``1`` for each validation image that is right and ``0`` for the others, in order.

    Raises:
        KeyError: If an image was not predicted.
    """
    labels = val_labels(folder)
    return "".join(str(int(predicted[path] == label)) for path, label in labels.items())


def _measure_fit(cell: Cell, folder: Path, scratch: Path) -> Row:
    command = [sys.executable, "-m", "tltool", "fit", *common_flags(cell, folder)]
    minutes, _ = _timed([*command, f"--runs_dir={scratch}", "--name=run"], scratch / "cache")
    (run_dir,) = (scratch / "run").iterdir()
    record = read_run(run_dir)
    finetuning, optimizer = record.config["finetuning"], record.config["optimizer"]
    return {
        "correct": {
            name: correct(_predictions(run_dir / "checkpoints" / f"{name}.ckpt", folder), folder)
            for name in ("last", "best")
        },
        "counts": "best" if cell.base == FIT else "last",
        "minutes": minutes,
        "epochs": record.epochs_done,
        "strategy": finetuning,
        "lr": optimizer["init_args"]["lr"],
    }


def _predictions(checkpoint: Path, folder: Path) -> dict[str, str]:
    """Return the class that a checkpoint predicts for each validation image, by path."""
    val = folder / "val"
    return {
        Path(path).relative_to(val).as_posix(): prediction.label
        for path, prediction in load(checkpoint).predict_folder(val).items()
    }


def _measure_job(cell: Cell, folder: Path, scratch: str) -> Row:
    backbone, weights = _weights(cell.backbone, cell.img_size)
    spec: dict[str, Any] = {
        "method": cell.base,
        "folder": str(folder.absolute()),
        "weights": str(weights.absolute()),
        "flags": [*common_flags(cell, folder), f"--runs_dir={scratch}"],
        **{name: getattr(cell, name) for name in ("backbone", "img_size", "seed")},
        **{name: list(backbone.data_config[name]) for name in ("mean", "std")},
    }
    if cell.options and cell.base not in PROBES:
        raise ValueError(f"{cell.base} takes no options of tltool, got {cell.method!r}.")
    python, job = sys.executable, "probe_job.py"
    if cell.base in OTHERS:
        python, job = interpreter(cell.base, "timm"), "fine_tune_others_job.py"
    elif cell.base == "reference":
        job = "reference.py"
    command = [python, str(HERE / job), json.dumps(spec)]
    minutes, output = _timed(command, Path(scratch) / "cache", cwd=scratch)
    result: Row = json.loads(output.splitlines()[-1])
    right = correct(result.pop("predicted"), folder)
    return {"correct": {"last": right}, "minutes": minutes, **result}


def _weights(name: str, img_size: int) -> tuple[Backbone, Path]:
    """Return a backbone as ``tltool fit`` makes it, and a file of its weights for other tools."""
    backbone = Backbone(name, img_size=img_size)
    path = FOLDER / "weights" / f"{name}.pt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(backbone.model.state_dict(), path)
    return backbone, path


def _timed(command: Sequence[str], cache: Path, cwd: str | None = None) -> tuple[float, str]:
    """Return minutes and output of a whole process that finds no features."""
    paths = {"TLTOOL_CACHE": str(cache)}
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | paths, cwd=cwd
    )
    minutes = (time.perf_counter() - start) / 60
    shutil.rmtree(cache, ignore_errors=True)
    return minutes, done.stdout
