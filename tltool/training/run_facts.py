"""Facts about a run, one flat block to filter runs by, and its name."""

import hashlib
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.labels import label_text
from tltool.data.loading.samples import Splits
from tltool.finetuning.plan import trained_by
from tltool.models.layer_groups import layer_groups
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.find_callback import find_callback
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import git_commit, image_names

_DATA_FACTS = (
    *("global_batch", "data", "split", "augmentation", "img_size"),
    *("num_classes", "num_train", "num_val", "num_test"),
)


def run_facts(trainer: Trainer, task: ImageTask) -> dict[str, Any]:
    """Return one flat block of facts about a run, for the columns of the table of runs.

    What does not apply is ``None``, so that runs have the same columns: the activation of a head
    without hidden layers, the commit outside a repository.
    """
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        **_model_facts(task),
        **_training_facts(trainer, task),
        "lr": trainer.optimizers[0].defaults.get("lr") if trainer.optimizers else None,
        "seed": None if seed is None else int(seed),
        "devices": trainer.world_size,
        "accelerator": trainer.accelerator.name(),
        "max_epochs": trainer.max_epochs,
        **_data_facts(trainer),
        "commit": git_commit(Path.cwd()),
        **{f"{name}_version": version(name) for name in ("tltool", "torch", "timm", "lightning")},
    }


def run_name(facts: Mapping[str, Any], place: str) -> str:
    """Return a name that tells runs apart.

    Args:
        facts: What `run_facts` returned.
        place: The run directory, such as ``images/0``.

    Example:
        >>> facts = {"backbone": "resnet18", "head": "Head(256)", "activation": "gelu",
        ...          "norm": None, "finetuning": "LPFT", "lr": 0.001, "seed": 0}
        >>> run_name(facts, "images/0")
        'images/0 resnet18 Head(256) gelu LPFT lr 0.001 seed 0'
    """
    keys = ("backbone", "head", "activation", "norm", "finetuning")
    words = [place, *(facts[key] for key in keys)]
    words += [f"{key} {facts[key]:g}" for key in ("lr", "seed") if facts[key] is not None]
    return " ".join(word for word in words if word is not None)


def split_fingerprint(splits: Splits, class_names: list[str]) -> str:
    """Return a short hash of which image is in which split, with which label.

    It does not depend on where the images lie, nor on their order.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> here = Splits(Samples(["/here/a.jpg", "/here/b.jpg"], [0, 1]))
        >>> there = Splits(Samples(["/there/b.jpg", "/there/a.jpg"], [1, 0]))
        >>> names = ["ants", "bees"]
        >>> split_fingerprint(here, names) == split_fingerprint(there, names)
        True
    """
    named = image_names(splits)
    lines = sorted(
        f"{split}\t{name}\t{label_text(label, class_names)}"
        for split, samples in splits.by_name().items()
        for name, label in zip(named[split], samples.labels or [], strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]


def _model_facts(task: ImageTask) -> dict[str, Any]:
    head = task.task_config["head"]
    options = head["init_args"]
    hidden = options.get("hidden_features", [])
    name = head["class_path"].rpartition(".")[2]
    return {
        "backbone": task.backbone.name,
        "weights": task.backbone.weights,
        "head": f"{name}({', '.join(map(str, hidden))})" if hidden else name,
        "activation": _in_words(options.get("activation")) if hidden else None,
        "norm": _in_words(options.get("norm")),
        "initializer": _in_words(options.get("initializer")),
    }


def _training_facts(trainer: Trainer, task: ImageTask) -> dict[str, Any]:
    finetuning = find_callback(trainer, Finetuning)
    sizes = {name: parameter.numel() for name, parameter in task.named_parameters()}
    if finetuning is None:
        return {"finetuning": None, "phases": [], "trainable_parameters": sum(sizes.values())}
    groups, phases = layer_groups(task), finetuning.schedule.phases
    trained = set().union(*(trained_by(phase, task, groups) for phase in phases))
    return {
        "finetuning": type(finetuning.strategy).__name__,
        "phases": [phase.name for phase in phases],
        "trainable_parameters": sum(sizes[name] for name in trained),
    }


def _data_facts(trainer: Trainer) -> dict[str, Any]:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ImageDataModule):
        return dict.fromkeys(_DATA_FACTS)
    sizes = {f"num_{name}": len(samples) for name, samples in data.splits.by_name().items()}
    values = {
        "global_batch": data.batch_size * trainer.accumulate_grad_batches,
        "data": data.name or type(data).__name__,
        "split": split_fingerprint(data.splits, data.class_names),
        "augmentation": data.augmentation,
        "img_size": list((data.data_config or {}).get("input_size", ())[1:]),
        "num_classes": data.num_classes,
        **sizes,
    }
    return {name: values.get(name) for name in _DATA_FACTS}


def _in_words(choice: Any) -> str | None:
    if not isinstance(choice, Mapping):
        return None if choice is None else str(choice)
    options = ", ".join(f"{key}={value}" for key, value in choice.items() if key != "name")
    return f"{choice['name']}({options})" if options else str(choice["name"])
