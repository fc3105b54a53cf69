"""The checkpoints that a merge is made of: of one run or several, of one architecture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tltool._objective import MONITORS
from tltool.models.non_finite import check_finite
from tltool.models.weight_averaging import differing_tensors
from tltool.training.callbacks.ending_files import KEPT
from tltool.training.checkpoint_io import CONFIG, TASK, read_checkpoint
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import model_differences, trained_on
from tltool.training.resume_rules import Rule
from tltool.training.start_weights import FILE, read_start
from tltool.training.task_serialization import load_state_
from tltool.training.weight_blends import BEST, LAST

#: How weights are averaged: on the line between two networks, greedily, or all of them.
MergeAverage = Literal["wise_ft", "soup", "uniform"]

# Arguments of a head that change nothing of what its weights mean.
_ONLY_IN_TRAINING = {"dropout", "initializer", "output_initializer", "output_bias"}


@dataclass(frozen=True)
class MergeSources:
    """Networks of one architecture.

    Attributes:
        states: All weights by name: for ``wise_ft`` the ends of lines.
        start: Weights of the start of the lines.
        base: The checkpoint from which all but the weights is taken.
        task: The task that they are weights of.
        images: The `image_hashes` of the training images of all their runs; empty if not known.
    """

    states: Mapping[str, Mapping[str, Tensor]]
    start: Mapping[str, Tensor] | None
    base: Mapping[str, Any]
    task: ImageTask
    images: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def monitor(self) -> str:
        """The metric that the run has chosen by; where it does not say, that of the objective."""
        chosen: str | None = self.base.get(CONFIG, {}).get("monitor")
        return chosen or MONITORS[self.task.objective]

    @property
    def changed(self) -> set[str]:
        """The names of the tensors that differ between them."""
        starts = [] if self.start is None else [self.start]
        return differing_tensors([*self.states.values(), *starts])


def read_sources(paths: Sequence[str | Path], average: MergeAverage) -> MergeSources:
    """Read the checkpoints that are to be averaged.

    Of one run's directory, all of its checkpoints and the start that `Ending` has kept; of several
    directories or files, one checkpoint of each: for ``wise_ft`` the start and the end.

    Args:
        paths: Directories of runs, or checkpoints.
        average: How they will be averaged.

    Raises:
        FileNotFoundError: If a checkpoint is missing.
        ValueError: If they are too few or too many, differ in architecture, classes or
            preprocessing, or have adapters of several runs.
    """
    start = None
    if len(paths) == 1 and Path(paths[0]).is_dir():
        found = _of_run(Path(paths[0]) / "checkpoints")
        if average == "wise_ft":
            found = {name: path for name, path in found.items() if name in (BEST, LAST)}
    else:
        found = {str(path): _checkpoint(Path(path)) for path in paths}
    checkpoints = {name: read_checkpoint(path) for name, path in found.items()}
    base = next(reversed(checkpoints.values())) if len(paths) > 1 else _first(checkpoints)
    task = _checked_task(checkpoints, found)
    states = {name: checkpoint["state_dict"] for name, checkpoint in checkpoints.items()}
    if len(paths) > 1:
        _check_adapters(states)
    if average == "wise_ft" and len(paths) == 1:
        start = {**_first(states), **_start(Path(paths[0]), base)}
    elif average == "wise_ft":
        if len(paths) != 2:
            raise ValueError(
                f"wise_ft is on the line between two networks, got {len(paths)}. Name one run, or "
                "a start and an end; or set --average soup."
            )
        start = states.pop(str(paths[0]))
    states = _without_copies(states)
    if not states or (start is None and len(states) < 2):
        raise ValueError(
            f"There is nothing to average: {paths[0]} holds the same weights only. Name more "
            "checkpoints, or train with --ending.average soup, which keeps several."
        )
    return MergeSources(states, start, base, task, _trained_on(checkpoints.values()))


def _of_run(folder: Path) -> dict[str, Path]:
    """Return the checkpoints of a run by name, the best epoch first; no averages."""
    best = folder / KEPT if (folder / KEPT).is_file() else _checkpoint(folder.parent)
    last = {LAST: folder / "last.ckpt"} if (folder / "last.ckpt").is_file() else {}
    epochs = {path.stem: path for path in sorted(folder.glob("epoch_*.ckpt"))}
    return {BEST: best, **last, **epochs}


def _checkpoint(path: Path) -> Path:
    """Return the checkpoint that a run's directory stands for: its best one."""
    best = path / "checkpoints" / "best.ckpt"
    return best if best.is_file() else path  # What is no checkpoint is refused when it is read.


def _trained_on(checkpoints: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Return the hashes of the images that the runs of checkpoints have trained on.

    Those that a run called test are not kept: they may have trained another one, or choose here.
    """
    hashes = {number for each in checkpoints for number in trained_on(each).tolist()}
    return {"train": torch.tensor(sorted(hashes))} if hashes else {}


def _checked_task(
    checkpoints: Mapping[str, Mapping[str, Any]], paths: Mapping[str, Path]
) -> ImageTask:
    first = next(iter(checkpoints))
    task = ImageTask.load_from_checkpoint(paths[first])
    for name, checkpoint in checkpoints.items():
        differences = _differences(checkpoints[first][TASK], checkpoint[TASK])
        if differences:
            raise ValueError(
                f"{paths[name]} cannot be averaged with {paths[first]}: "
                f"{'; '.join(differences)}. Merge checkpoints of one backbone, head, preprocessing "
                "and list of classes; of numbers, with one mean and deviation of the target."
            )
        load_state_(task, checkpoint["state_dict"])
        check_finite(task, paths[name])
    return task


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what of two tasks gives their weights another meaning, in words."""
    found = [
        str(difference)
        for difference in model_differences(before, now)
        if difference.rule is Rule.REFUSED
        and difference.key.rpartition(".")[2] not in _ONLY_IN_TRAINING
    ]
    scales = [_target_scale(config) for config in (before, now)]
    if scales[0] != scales[1]:
        words = " and is of ".join("mean {:.6g}, deviation {:.6g}".format(*each) for each in scales)
        found.append(f"the target was of {words}: its outputs are numbers of that scale")
    return found


def _check_adapters(states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuse adapters whose both factors differ: their mean is not that of what they add."""
    differing = differing_tensors([*states.values()])
    names = [name for name in differing if name.endswith(".lora_a")]
    if names:
        raise ValueError(
            f"{', '.join(states)} have adapters (LoRA) of their own, {len(names)} each. Means of "
            "both factors add something else than the mean of what each pair adds. Export each by "
            "`tltool export CHECKPOINT --to safetensors`, which merges its adapters into the "
            "weights, and merge these files."
        )


def _target_scale(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return the mean and the deviation by which a head's outputs are standardized."""
    stats = config.get("target_stats") or {}
    return stats.get("mean", 0.0), stats.get("std", 1.0)


def _start(run_dir: Path, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the start of a run, as its checkpoints know it."""
    expected = checkpoint.get("callbacks", {}).get("Ending", {}).get("start")
    start = read_start(run_dir / "checkpoints", expected) if run_dir.is_dir() else None
    if start is None:
        raise ValueError(
            f"{run_dir} has no {FILE} of this run, its start. Train with --ending.average wise_ft, "
            "or name two checkpoints: the start and the end."
        )
    return start


def _without_copies(
    states: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, Mapping[str, Tensor]]:
    kept: dict[str, Mapping[str, Tensor]] = {}
    for name, state in states.items():
        if all(differing_tensors([state, other]) for other in kept.values()):
            kept[name] = state
    return kept


def _first(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values()))
