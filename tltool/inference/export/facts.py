"""What whoever uses an export must know: preparation of images, classes, versions."""

from typing import Any

import tltool
from tltool.inference.predictor import Predictor
from tltool.models.serialization import plain


def export_facts(predictor: Predictor) -> dict[str, Any]:
    """Return as plain data how images are prepared and what the outputs mean."""
    task = predictor.task
    thresholds = {} if task.thresholds is None else {"thresholds": task.thresholds}
    return {
        "tltool": tltool.__version__,
        "name": task.backbone.name,
        "data_config": plain(task.data_config, "data_config"),
        "objective": task.objective,
        "class_names": task.class_names,
        **thresholds,
        **({} if predictor.temperature == 1 else {"temperature": predictor.temperature}),
    }
