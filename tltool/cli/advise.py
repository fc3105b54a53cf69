"""`tltool plan --advise`: the strategy that suits the data, with numbers and doubts."""

import copy
import time
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from tltool.cli.activation_plot import SUFFIXES
from tltool.cli.output_file import check_output_file
from tltool.data.datamodule import ImageDataModule
from tltool.data.samples import Splits
from tltool.diagnosis.layer_probes import LayerProbes, probe_layers
from tltool.diagnosis.learning_curve import LearningCurve, draw_stratified, learning_curve
from tltool.diagnosis.strategy_advice import TABLE, Advice, advise, signed
from tltool.features.layers import extract_layer_features
from tltool.models.backbone import WHOLE, Backbone

MOST_PHOTOS = 2000
"""Of more training photos so many are probed, the same share of each class."""

LIKENESS = {
    "like": "like the pretraining's: no earlier layer serves better",
    "unlike": "unlike: an earlier layer serves better",
}
AMOUNT = {"few": "few photos of a class", "more": "more"}


def advise_on(
    backbone: Backbone, data: ImageDataModule
) -> tuple[Advice, LayerProbes, LearningCurve]:
    """Probe a frozen backbone on the training photos, score on the validation photos, and advise.

    Args:
        backbone: The network, with its weights.
        data: The photos, with that backbone's ``data_config``.

    Returns:
        The advice, and what it rests on.
    """
    counts = data.train_class_counts
    data = _at_most(data, MOST_PHOTOS)
    parts = {}
    for part in ("train", "val"):
        loader = data.evaluation_dataloader(part)
        parts[part] = extract_layer_features(
            backbone, loader, description=f"features of the {part} photos", total=len(loader)
        )
    (train, train_labels), (val, val_labels) = parts["train"], parts["val"]
    with Console(stderr=True).status("probes"):
        probes = probe_layers(train, train_labels, val, val_labels, data.num_classes)
        curve = learning_curve(train[WHOLE], train_labels, val[WHOLE], val_labels, data.num_classes)
    majority = (val_labels == train_labels.mode().values).double().mean().item()
    return advise(probes, curve, counts, majority=majority), probes, curve


def print_advice(backbone: Backbone, data: ImageDataModule) -> Advice:
    """Work the advice out and print it."""
    start = time.monotonic()
    advice, probes, curve = advise_on(backbone, data)
    console = Console()
    layers = Table("probe on", "accuracy", "to the whole network")
    for layer, accuracy in probes.accuracies.items():
        difference = "" if layer == probes.last else signed(probes.lead(layer))
        layers.add_row(layer, str(accuracy), difference)
    console.print(layers)
    sizes = Table("training photos", "accuracy of a probe")
    for size, accuracy in zip(curve.sizes, curve.accuracies, strict=True):
        sizes.add_row(f"{size:,}", str(accuracy))
    console.print(sizes)
    console.print(_table(advice))
    num_val = len(probes.correct[probes.last])
    print(f"probed   {curve.sizes[-1]:,} photos, scored on {num_val:,} validation photos")
    for reason in advice.reasons:
        print(f"because  {reason}")
    for doubt in _weight_doubts(backbone) + advice.doubts:
        print(f"doubt    {doubt}")
    stop = f" --model.backbone.stop_at {advice.stop_at}" if advice.stop_at else ""
    print(f"advice   --finetuning {type(advice.strategy).__name__}{stop}")
    if advice.alternative:
        print(f"or       {advice.alternative}")
    print(f"took     {time.monotonic() - start:.0f} s")
    return advice


def check_question(config: Namespace) -> None:
    """Check what ``plan`` is asked, before it takes time.

    Raises:
        ValueError: If the options do not go together.
        FileExistsError: If there is a file already where the configuration is to be written.
        FileNotFoundError: If there is no folder for it.
    """
    for option in ("dump", "plot", "lr_range"):
        if config["advise"] and config[option]:
            raise ValueError(
                f"--advise and --{option} are two questions. Ask the second one "
                "of the advised configuration: tltool plan --config FILE."
            )
    check_output_file(config["plot"], "--plot", suffixes=SUFFIXES, example="plan.png")
    file = config["write_config"]
    if file is not None and not config["advise"]:
        raise ValueError("--write_config writes what --advise advises. Add --advise.")
    check_output_file(file, "--write_config", is_new=True)


def advised_yaml(config: str, advice: Advice) -> str:
    """Return a configuration of ``fit`` with the advised strategy and layer instead of its own.

    Args:
        config: The configuration as YAML.
        advice: What to change.

    Example:
        >>> from tltool.finetuning import LinearProbe
        >>> advice = Advice("unlike", "few", LinearProbe(), "layer2", [], [])
        >>> print(advised_yaml("finetuning: {class_path: LPFT}", advice), end="")
        finetuning: LinearProbe
        model:
          backbone: {stop_at: layer2}
    """
    changed: dict[str, Any] = yaml.safe_load(config) or {}
    changed["finetuning"] = advice.as_config()["finetuning"]
    if advice.stop_at is not None:
        backbone = changed.setdefault("model", {}).setdefault("backbone", {})
        arguments = backbone.setdefault("init_args", {}) if "class_path" in backbone else backbone
        arguments["stop_at"] = advice.stop_at
    return yaml.safe_dump(changed, sort_keys=False, default_flow_style=None, width=110)


def _table(advice: Advice) -> Table:
    """Return the lecture's table, with the user's photos in one of its cells."""
    table = Table("the photos are", *AMOUNT.values(), show_lines=True)
    for likeness, words in LIKENESS.items():
        cells = []
        for amount in AMOUNT:
            cell = type(TABLE[likeness, amount]).__name__  # type: ignore[index]  # keys of the table
            cell += ", stop_at" if (likeness, amount) == ("unlike", "few") else ""
            here = (likeness, amount) == (advice.likeness, advice.amount)
            cells.append(f"[bold]{cell}\n<- your photos[/]" if here else cell)
        table.add_row(words, *cells)
    return table


def _weight_doubts(backbone: Backbone) -> list[str]:
    if backbone.weights != "random":
        return []
    return ["The weights are random: there is no pretraining that the photos could be like."]


def _at_most(data: ImageDataModule, number: int) -> ImageDataModule:
    """Return the data with a part of the training photos if there are more."""
    samples = data.samples("train")
    if len(samples) <= number:
        return data
    labels = torch.tensor(samples.labels)
    chosen = draw_stratified(labels, number / len(samples), torch.Generator().manual_seed(0))
    smaller = copy.copy(data)
    smaller.splits = Splits(samples.subset(chosen.tolist()), data.splits.val, data.splits.test)
    return smaller
