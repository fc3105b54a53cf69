"""Front matter of a model card, by which Hugging Face files a model."""

import math
from typing import Any

import yaml

from tltool.reporting.card.card_facts import CardFacts
from tltool.reporting.card.card_metrics import measures

#: The names by which Hugging Face knows metrics.
_METRICS = {
    "accuracy": "accuracy",
    "macro F1": "f1",
    "mAP": "mean_average_precision",
    "exact match": "exact_match",
    "MAE": "mae",
    "RMSE": "rmse",
    "R2": "r_squared",
    "Spearman": "spearmanr",
}
_LIBRARIES = {"timm": "timm", "onnx": "onnx", "torch-export": "pytorch", "safetensors": "tltool"}


def front_matter(facts: CardFacts) -> list[str]:
    """Return the lines of the front matter, between its two rules."""
    task = facts.task
    kind = "image-regression" if task.objective == "regression" else "image-classification"
    entries: dict[str, Any] = {
        "license": facts.licenses.of_model,
        "library_name": _LIBRARIES[facts.to],
        "tags": [kind, "tltool", "transfer-learning", task.backbone.name],
    }
    if kind == "image-classification":
        entries["pipeline_tag"] = kind
    if facts.licenses.of_model == "other":
        entries["license_name"] = "see-below"
    found = _results(facts)
    if found and facts.evaluation is not None:
        entries["metrics"] = [metric["type"] for metric in found]
        entries["model-index"] = [
            {
                "name": facts.name,
                "results": [
                    {
                        "task": {"type": kind},
                        "dataset": {
                            "name": facts.data_name,
                            "type": facts.data_name,
                            "split": facts.evaluation.split,
                        },
                        "metrics": found,
                    }
                ],
            }
        ]
    return ["---", *yaml.safe_dump(entries, sort_keys=False).splitlines(), "---"]


def _results(facts: CardFacts) -> list[dict[str, Any]]:
    if facts.evaluation is None:
        return []
    return [
        {"type": _METRICS[name], "value": round(value, 4), "name": name}
        for name, value, _ in measures(facts.evaluation)
        if name in _METRICS and math.isfinite(value)
    ]
