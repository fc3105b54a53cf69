"""A checkpoint as one ``.safetensors`` file, which tltool loads in the place of the checkpoint."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

from tltool.inference.export.agreement import Agreement, check_agreement, compare
from tltool.inference.export.facts import export_facts
from tltool.inference.predictor import Predictor
from tltool.models.weights.safetensors_file import save_weights
from tltool.surgery.adapters import has_lora
from tltool.training.image_task import ImageTask
from tltool.training.task_file import read_task, task_facts


def write_weights(predictor: Predictor, path: Path) -> list[str]:
    """Write the weights of a checkpoint, with how to rebuild its task, and a checksum beside it.

    The file stands for the checkpoint where one is loaded, such as by `tltool.load`, and its
    backbone is a source of ``model.backbone.weights``. There is no pickle in it. Adapters are
    merged, all else is as the run has left it, to be trained further. The file takes its place only
    after the task was rebuilt from it and has given the same logits.

    Args:
        predictor: The checkpoint.
        path: The ``.safetensors`` file.

    Returns:
        Lines that say what was changed and compared.

    Raises:
        ValueError: If the rebuilt task gives other logits.
    """
    task, lines = predictor.task, list[str]()
    if has_lora(task.backbone):
        task = copy.deepcopy(task).merge_adapters_()
        lines.append("The adapters (LoRA) are merged into the weights.")
    calibration = task.calibration.state_dict()
    facts = task_facts(task.task_config, calibration)
    description = {**export_facts(predictor), **predictor.split_facts, **facts}
    found = list[Agreement]()
    check = partial(_check, task=predictor.task, found=found)
    save_weights(path, task.state_dict(), description, check=check)
    return [*lines, f"The rebuilt task beside the checkpoint: {found[0]}."]


def _check(path: Path, *, task: ImageTask, found: list[Any]) -> None:
    rebuilt = ImageTask.rebuilt(*read_task(path))
    found.append(check_agreement(compare(task, rebuilt), "The rebuilt task"))
