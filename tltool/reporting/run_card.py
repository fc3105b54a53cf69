"""Run card: what was trained on what, with which code, on which machine, in how many minutes."""

from collections.abc import Mapping
from typing import Any

from tltool._plain_text import pixel_size
from tltool.models.weights.loading import weights_in_words
from tltool.reporting.tables import FactTable
from tltool.training.callbacks.step_trace import StepTrace
from tltool.training.checkpoint_io import TASK

_UNKNOWN = "unknown"


def run_card(
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    *,
    images: str = "",
    input_size: tuple[int, ...] = (),
    seconds: float | None = None,
) -> FactTable:
    """Return what a reviewer must know of a run to repeat or to file it.

    Args:
        config: Its whole configuration.
        checkpoint: Its newest checkpoint.
        images: How many there are of each split and class, in words.
        input_size: Channels, height and width of an image, in pixels.
        seconds: How long it has run; ``None`` where that is not known.
    """
    facts: Mapping[str, Any] = checkpoint.get("run_facts", {})
    trace = checkpoint.get("callbacks", {}).get(StepTrace.__qualname__, {})
    machine: Mapping[str, Any] = trace.get("machine", {})
    model, data = config["model"], config["data"]["init_args"]
    backbone = model["backbone"]["init_args"]
    built = checkpoint.get(TASK, {}).get("backbone", {}).get("init_args", backbone)
    ranks = facts.get("world_size") or 1
    devices = f"{ranks} of {machine['device']}" if machine else f"{ranks}"
    weights = weights_in_words(str(built["weights"]), built["name"])
    rows = {
        "backbone": f"{built['name']}, weights {weights}, {pixel_size(input_size)} px",
        "surgery": "; ".join(next(iter(edit)) for edit in backbone.get("surgery") or []),
        "head": _head(model["head"]),
        "objective": model.get("objective", "single_label").replace("_", " "),
        "fine-tuning": _call(config["finetuning"]),
        "optimizer": _call(config["optimizer"]),
        "batch": f"{data.get('batch_size', _UNKNOWN)} images on all devices together",
        "augmented": str(data.get("augmentation") or "none"),
        "images": images or _UNKNOWN,
        "seed": str(config.get("seed_everything")),
        "devices": devices,
        "minutes": _UNKNOWN if seconds is None else f"{seconds / 60:.1f}",
        "versions": ", ".join(f"{name} {v}" for name, v in facts.get("versions", {}).items()),
        "commit": str(facts.get("commit") or _UNKNOWN),
    }
    return FactTable(("", ""), [(name, value) for name, value in rows.items() if value])


def _head(section: Mapping[str, Any]) -> str:
    """Return a head as a call; of a linear one without what is of hidden layers."""
    given = section.get("init_args") or {}
    if section["class_path"].rpartition(".")[2] != "Head" or given.get("hidden_features"):
        return _call(section)
    own = {name: given.get(name) for name in ("input_norm", "dropout")}
    return _call({"class_path": "linear", "init_args": own})


def _call(section: Mapping[str, Any] | str) -> str:
    """Return a class with its arguments that are set, as Python would call it.

    Example:
        >>> _call({"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": None}})
        'SGD(lr=0.1)'
    """
    if isinstance(section, str):
        return section
    given = section.get("init_args") or {}
    # What is off or empty says nothing.
    kept = {name: value for name, value in given.items() if value not in (None, False, [], {})}
    arguments = ", ".join(f"{name}={value}" for name, value in kept.items())
    return f"{section['class_path'].rpartition('.')[2]}({arguments})"
