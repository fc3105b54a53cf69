"""From the configuration of `fit` to the heads of a comparison, and from one of them back."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tltool._lookup import lookup
from tltool._spec import Spec, parse_spec
from tltool.cli.sections import HEAD
from tltool.cli.short_yaml import changed_arguments, short_yaml
from tltool.comparison.optimizers import OPTIMIZERS, with_defaults
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant


def optimizer_spec(config: Mapping[str, Any]) -> Spec:
    """Return the section ``optimizer`` as a comparison writes it, without what is usual.

    Raises:
        ValueError: If heads cannot train together with it.

    Example:
        >>> optimizer_spec({"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}})
        {'name': 'SGD', 'lr': 0.1}
    """
    name = config["class_path"].rpartition(".")[2]
    entry = lookup(OPTIMIZERS, name, kind="optimizer of a comparison")
    usual = partial(entry.factory, **{**entry.defaults, "lr": entry.lr})
    changed = changed_arguments(usual, config["init_args"])
    return {"name": name, **changed} if changed else name


def head_yaml(
    config: Mapping[str, Any], variant: Variant, lr: float, settings: TrainingSettings, weights: str
) -> str:
    """Return the configuration of ``fit`` that trains one head of a comparison.

    Args:
        config: The configuration of the comparison, as plain data.
        variant: The head.
        lr: Its learning rate.
        settings: How it was trained.
        weights: Where the backbone's weights came from.
    """
    name, arguments = parse_spec(variant.optimizer, kind="optimizer")
    optimizer = with_defaults(name, {**arguments, "lr": float(f"{lr:.3g}")})
    chosen = {
        **config,
        "model": config["model"] | {"head": {"class_path": HEAD, "init_args": variant.head}},
        "optimizer": {"class_path": f"torch.optim.{name}", "init_args": optimizer},
        "finetuning": {
            "class_path": "tltool.finetuning.strategies.LinearProbe",
            "init_args": {"warmup": settings.warmup, "decay": settings.decay},
        },
        "trainer": config["trainer"] | {"max_epochs": settings.epochs},
        "name": None,
    }
    return short_yaml(chosen, weights)
