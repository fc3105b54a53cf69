"""A checkpoint as a ``.pt2`` file that ``torch.export.load`` reads, without tltool."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tltool._atomic_write import whole_file
from tltool.inference.export.agreement import check_agreement, compare, example_images
from tltool.inference.export.exported_model import ExportedModel, exported_model, give_target_units_
from tltool.inference.export.facts import export_facts
from tltool.inference.predictor import Predictor

FACTS = "tltool.json"
"""The file in the archive that says how images are prepared and what the logits mean."""


def write_torch_program(predictor: Predictor, path: Path, *, fold_norms: bool = False) -> list[str]:
    """Write the graph of a checkpoint's network, which takes any number of images.

    ``torch.export.load(path).module()(images)`` gives the logits. The file takes its place only
    after it was loaded and has given the same logits, for one image and for several.

    Args:
        predictor: The checkpoint.
        path: The ``.pt2`` file.
        fold_norms: Fold batch norms into the layers in front.

    Returns:
        Lines that say what was changed and compared.

    Raises:
        ValueError: If torch can record no graph for any number of images, or there are no batch
            norms to fold.
    """
    task = predictor.task
    exported = give_target_units_(exported_model(task, fold_norms=fold_norms), task)
    program = _record(exported, example_images(task))
    facts = {FACTS: json.dumps(export_facts(predictor))}
    content = io.BytesIO()  # To a file that cannot be written torch would end the process.
    torch.export.save(program, content, extra_files=facts)
    with whole_file(path) as partial:
        partial.write_bytes(content.getbuffer())
        loaded = _load(partial)
        found = check_agreement(compare(task, loaded, in_units=True), "The graph")
        check_agreement(
            compare(task, loaded, num_images=1, in_units=True), "The graph for one image"
        )
    return [*exported.changes, f"The graph beside the checkpoint: {found}."]


def _record(model: ExportedModel, images: Tensor) -> ExportedProgram:
    with torch.no_grad():
        model(images)  # Modules that look once whether they are fitted have looked then.
        try:
            shapes: Any = {"images": {0: Dim("batch", min=1)}}
            return torch.export.export(model, (images,), dynamic_shapes=shapes)
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"torch.export records no graph of {model.backbone.name} for any number of "
                f"images: {reason}. Export it with --to timm or --to safetensors, which keep "
                "the code of the network."
            ) from error


def _load(path: Path) -> nn.Module:
    with path.open("rb") as file:
        return torch.export.load(file).module()
