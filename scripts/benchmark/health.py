"""How often do the health alarms miss, and how often do they cry wolf?

Networks made sick on purpose, each with the alarm that must be raised, and healthy runs of many
heads, in which none should be. On the digits as pixels, and, with a folder that has `train` and
`val`, on its features of EfficientNet-Lite0. Prints a row for each, and both shares.

Run: python scripts/benchmark/health.py [FOLDER]
"""

import logging
import sys
from typing import Any

from watched_fit import watched_fit

from tltool.training.callbacks.health_monitor import HealthMonitor

DIGITS = (
    *("--data", "DigitsDataModule", "--data.preprocessing", "none"),
    *("--model.backbone.name", "pixels"),
    *("--model.backbone.img_size", "8", "--model.backbone.in_chans", "1"),
)
SICK: dict[str, tuple[str, str]] = {
    "all-negative biases": ("dead units", "head.hidden_features=[64] head.bias=-20"),
    "sigmoid with large weights": (
        "saturation",
        "head.hidden_features=[64] head.activation=sigmoid head.initializer={name:normal,std:10}",
    ),
    "learning rate 300 times too high": ("large updates", "head.hidden_features=[64] lr=0.3"),
    "zero weights": ("collapsed", "head.hidden_features=[64] head.initializer=zeros"),
    "deep sigmoid": (
        "vanishing gradient",
        "head.hidden_features=[64,64,64,64,64,64,64,64] head.activation=sigmoid",
    ),
    "positive inputs, oscillating steps": ("zig-zag", "head.hidden_features=[] SGD lr=0.8"),
    "batch norm with momentum 0.001, 5 steps": (
        "batch norm lags",
        "head.hidden_features=[64] head.norm={name:batch,momentum:0.001} steps=5",
    ),
}
HEALTHY = (
    "head.hidden_features=[]",
    "head.hidden_features=[] head.input_norm=standardize",
    "head.hidden_features=[] SGD lr=0.05",
    *(
        f"head.hidden_features=[128] head.input_norm=standardize head.activation={name}"
        for name in ("relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "tanh", "maxout")
    ),
    "head.hidden_features=[128] head.input_norm=standardize head.activation=selu",
    "head.hidden_features=[128] head.norm=batch",
    "head.hidden_features=[128] head.norm=layer head.dropout=0.2",
    "head.hidden_features=[64,64,64] head.norm=batch",
    "head.hidden_features=[64,64,64] head.input_norm=standardize",
    "head.hidden_features=[64] head.bias=0.01",
    "head.hidden_features=[64] head.input_norm=standardize SGD lr=0.05",
    "head.hidden_features=[64] head.input_norm=batch lr=0.003",
    "head.hidden_features=[256] head.initializer=orthogonal",
)


def main() -> None:
    """Print a row for each network."""
    logging.getLogger("tltool").setLevel(logging.ERROR)
    places = {"digits": DIGITS}
    if len(sys.argv) > 1:
        places["images"] = ("--data.root", sys.argv[1], "--finetuning", "LinearProbe")
    missed, wolves, healthy = 0, 0, 0
    print("| network | data | alarms |\n|---|---|---|")
    for name, (cause, settings) in SICK.items():
        found = alarms(DIGITS, settings)
        missed += cause not in found
        print(f"| {name} | digits | {', '.join(found) or 'none'} |", flush=True)
    for place, data in places.items():
        for settings in HEALTHY:
            found = alarms(data, settings)
            healthy += 1
            wolves += bool(found)
            print(f"| {settings} | {place} | {', '.join(found) or 'none'} |", flush=True)
    print(f"\nMissed {missed} of {len(SICK)}; false alarms in {wolves} of {healthy} healthy runs.")


def alarms(data: tuple[str, ...], settings: str) -> list[str]:
    """Return the causes of the alarms of a run."""
    trainer = watched_fit([*data, *arguments(settings)])
    monitors = [c for c in trainer.callbacks if isinstance(c, HealthMonitor)]  # type: ignore[attr-defined]
    return [alarm.cause for alarm in monitors[0].alarms]


def arguments(settings: str) -> list[str]:
    """Return the arguments of ``fit`` that short settings stand for."""
    words: list[Any] = []
    for setting in settings.split():
        key, _, value = setting.partition("=")
        if key == "SGD":
            words += ["--optimizer", "SGD", "--optimizer.momentum", "0"]
        elif key == "lr":
            words += ["--optimizer.lr", value]
        elif key == "steps":
            words += ["--trainer.max_steps", value]
        else:
            words += [f"--model.{key}", value.replace(":", ": ")]
    return words


if __name__ == "__main__":
    main()
