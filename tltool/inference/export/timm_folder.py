"""A checkpoint as a folder that timm loads: ``timm.create_model("local-dir:FOLDER", ...)``."""

from pathlib import Path

from tltool._atomic_write import whole_folder
from tltool.inference.export.agreement import check_agreement, compare
from tltool.inference.export.exported_model import exported_model, give_target_units_
from tltool.inference.predictor import Predictor
from tltool.models.timm_classifier import load_timm_folder, timm_classifier, write_timm_config
from tltool.models.weights.safetensors_file import save_weights
from tltool.models.weights.weights_license import weights_license

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def write_timm(predictor: Predictor, path: Path) -> list[str]:
    """Write a folder from which timm makes the model of a checkpoint, without tltool.

    There are its ``config.json``, with preprocessing and names of the classes, and its
    ``model.safetensors``. Adapters are merged, and the input norm of the head is part of the
    classifier. The folder has its name only after timm has loaded it and given the same logits.

    Args:
        predictor: The checkpoint.
        path: The folder, which there must not be yet.

    Returns:
        Lines that say what was changed and compared.

    Raises:
        ValueError: If timm cannot build such a model, which the message explains.
    """
    task = predictor.task
    exported = give_target_units_(exported_model(task), task)
    backbone = task.backbone
    model = timm_classifier(exported.backbone, exported.head, data_config=task.data_config)
    source = task.task_config["backbone"]["init_args"]["weights"]
    with whole_folder(path) as folder:
        description = {"name": backbone.name, "data_config": task.data_config}
        save_weights(folder / WEIGHTS, model.state_dict(), description)
        write_timm_config(
            folder / CONFIG,
            model,
            task.data_config,
            class_names=task.class_names,
            weights=source,
            license_name=weights_license(backbone.name, source),
        )
        found = check_agreement(
            compare(task, load_timm_folder(folder), in_units=True), "timm's model"
        )
    return [*exported.changes, f"timm's model beside the checkpoint: {found}."]
