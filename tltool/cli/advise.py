"""`tltool plan --advise`: the strategy that suits the data, with numbers and doubts."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from rich.table import Table
from rich.text import Text

from tltool._atomic_write import write_whole
from tltool._output_file import check_output_file
from tltool._plain_text import plain_console, shell_command
from tltool.cli.auto_choice import changed_options
from tltool.cli.build import Experiment
from tltool.cli.short_yaml import short_yaml
from tltool.diagnostics.advice.data_advice import advise_on
from tltool.diagnostics.advice.strategy_advice import (
    FEW_PER_CLASS,
    RECORD,
    RULE,
    TABLE,
    Advice,
    signed,
)
from tltool.finetuning.strategies import FinetuningStrategy
from tltool.reporting.figures.axes import SUFFIXES
from tltool.reporting.tables import FactTable, rich_table
from tltool.training.backbone_start import calibrate_backbone_

LIKENESS = {
    "like": "like the pretraining's: no earlier layer surely serves better",
    "unlike": "unlike: an earlier layer surely serves better",
}
AMOUNT = {"few": f"fewer than {FEW_PER_CLASS} of a class", "more": "more, or a flat curve"}


def advise_and_write(experiment: Experiment, file: Path | None) -> None:
    """Print the advice, and the configuration with it; write that into a file if there is one."""
    advice = print_advice(experiment)
    own = short_yaml(experiment.plain_config, experiment.backbone.weights)
    text = advised_yaml(own, advice)
    if file is None:
        print("\nThis run as YAML, to keep and change (--write_config FILE):")
        print(text, end="")
        return
    write_whole(file, text)
    print(f"next     {shell_command('tltool', 'fit', '--config', file)}")


def print_advice(experiment: Experiment) -> Advice:
    """Work the advice out and print it."""
    start = time.monotonic()
    backbone, data = experiment.backbone, experiment.data
    calibrate_backbone_(backbone, data)
    advice, probes, curve = advise_on(backbone, data)
    advice = keep_options(advice, experiment.strategy)
    layers = [
        (layer, str(accuracy), "" if layer == probes.last else signed(probes.lead(layer)))
        for layer, accuracy in probes.accuracies.items()
    ]
    sizes = [(size, str(acc)) for size, acc in zip(curve.sizes, curve.accuracies, strict=True)]
    plain_console().print(
        rich_table(FactTable(("probe on", "accuracy", "to the whole network"), layers)),
        rich_table(FactTable(("training images", "accuracy of a probe"), sizes)),
        _table(advice),
        sep="\n",
    )
    num_val = len(probes.correct[probes.last])
    print(f"probed   {curve.sizes[-1]:,} images, scored on {num_val:,} validation images")
    print(f"rule     {RULE}")
    for reason in advice.reasons:
        print(f"because  {reason}")
    if backbone.weights == "random":
        print("doubt    The weights are random: no pretraining that the images could be like.")
    for doubt in [*advice.doubts, RECORD]:
        print(f"doubt    {doubt}")
    print(f"gain     {advice.expected}")
    stop = f" --model.backbone.stop_at {advice.stop_at}" if advice.stop_at else ""
    print(f"advice   --finetuning {type(advice.strategy).__name__}{stop}")
    if experiment.choice:
        print(f"fit      {_beside_choice(advice, experiment.choice)}")
    if advice.alternative:
        print(f"or       {advice.alternative}")
    print(f"took     {time.monotonic() - start:.0f} s")
    return advice


def keep_options(advice: Advice, strategy: FinetuningStrategy) -> Advice:
    """Return advice that leaves a strategy of the advised class as it is, with its options.

    What is measured decides on the class alone: how many groups train is said by `Auto`, or by the
    user.

    Example:
        >>> from tltool.finetuning.strategies import LastBlocks
        >>> advice = Advice("like", "more", LastBlocks(1), None, [], [])
        >>> keep_options(advice, LastBlocks(num_groups=2)).strategy.num_groups
        2
    """
    is_same = type(strategy) is type(advice.strategy)
    return replace(advice, strategy=strategy) if is_same else advice


def _beside_choice(advice: Advice, choice: str) -> str:
    """Say how advice relates to what ``fit`` chooses by itself."""
    chosen = choice.partition(": ")[0]
    if chosen.startswith(f"{type(advice.strategy).__name__}(") and advice.stop_at is None:
        return f"chooses it by itself, without --finetuning: {chosen}"
    return (
        f"chooses {chosen} by itself, by the number of images and the time it takes; the probes "
        "here say otherwise"
    )


def check_question(config: Namespace) -> None:
    """Check what ``plan`` is asked, before it takes time.

    Raises:
        ValueError: If the options do not go together.
        FileExistsError: If there is a file already where the configuration is to be written.
        FileNotFoundError: If there is no folder for it.
    """
    for option in ("dump", "plot", "lr_range", "measure_surgery"):
        if config["advise"] and config[option]:
            raise ValueError(
                f"--advise and --{option} are two questions. Ask the second one "
                "of the advised configuration: tltool plan --config FILE."
            )
    if config["plot"] and config["lr_range"] and config["measure_surgery"]:
        raise ValueError(
            "--plot draws one picture: that of --lr_range, or that of --measure_surgery. Leave "
            "out one of them."
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
        >>> from tltool.finetuning.strategies import LinearProbe
        >>> advice = Advice("unlike", "few", LinearProbe(), "layer2", [], [])
        >>> print(advised_yaml("finetuning: {class_path: LPFT}", advice), end="")
        finetuning: LinearProbe
        model:
          backbone: {stop_at: layer2}
    """
    changed: dict[str, Any] = yaml.safe_load(config) or {}
    name, options = type(advice.strategy).__name__, changed_options(advice.strategy)
    changed["finetuning"] = {"class_path": name, "init_args": options} if options else name
    if advice.stop_at is not None:
        backbone = changed.setdefault("model", {}).setdefault("backbone", {})
        arguments = backbone.setdefault("init_args", {}) if "class_path" in backbone else backbone
        arguments["stop_at"] = advice.stop_at
    return yaml.safe_dump(changed, sort_keys=False, default_flow_style=None, width=110)


def _table(advice: Advice) -> Table:
    """Return the lecture's table, with the user's images in one of its cells."""
    table = Table("the images are", *AMOUNT.values(), show_lines=True)
    for likeness, words in LIKENESS.items():
        cells = list[str | Text]()
        for amount in AMOUNT:
            cell = type(TABLE[likeness, amount]).__name__  # type: ignore[index]  # keys of the table
            cell += ", stop_at" if (likeness, amount) == ("unlike", "few") else ""
            here = (likeness, amount) == (advice.likeness, advice.amount)
            cells.append(Text(f"{cell}\n<- your images", style="bold") if here else cell)
        table.add_row(words, *cells)
    return table
