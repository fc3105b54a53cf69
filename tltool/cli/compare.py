"""`tltool compare`: many heads on one frozen backbone, and which differences are real."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from tltool._atomic_write import save_figure, write_whole
from tltool._lookup import lookup
from tltool._output_file import check_output_file
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.compare_config import head_yaml, optimizer_spec
from tltool.cli.compare_print import print_comparison
from tltool.cli.frozen_backbone import FrozenBackbone, add_cache, split_names
from tltool.cli.lecture import (
    chosen_experiments,
    lecture_arguments,
    make_problem,
    run_lecture,
)
from tltool.cli.own_modules import rewrite
from tltool.cli.parser import Parser
from tltool.cli.sections import HEAD
from tltool.comparison.compare import compare_heads
from tltool.comparison.result import Comparison
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import AXES, Variant, check_variant, cross_axes
from tltool.finetuning.phase import Phase
from tltool.lecture.catalog import EXPERIMENTS
from tltool.lecture.experiment import Experiment as Claim
from tltool.reporting.figures.accuracy_heatmap import comparison_curves, draw_accuracy_heatmap
from tltool.reporting.figures.curves import draw_curves
from tltool.reporting.wandb.comparison_group import log_group
from tltool.training.run_directory import create_run_dir

log = logging.getLogger(__name__)

AXIS_HELP = {
    "activation": "Activations, for example relu gelu selu.",
    "norm": "Norms in front of the activations, for example null batch layer.",
    "initializer": "Initializers of the hidden weights.",
    "bias": "Starts of the hidden biases.",
    "input_norm": "Normalizations of the features, for example null standardize.",
    "dropout": "Probabilities of dropout.",
    "depth": "Numbers of hidden layers; 0 is a linear head.",
    "width": "Widths of the hidden layers.",
    "optimizer": "Optimizers, for example AdamW '{name: SGD, nesterov: true}'.",
}
DEFAULT_AXES: dict[str, list[Any]] = {"activation": ["relu", "gelu", "tanh"], "depth": [0, 1]}
HEAD_ARGUMENTS: dict[str, Any] = {"hidden_features": [256]}


LINEAR_PROBE = Phase("probe", ("head",), warmup=0.1, decay="cosine")


def main(argv: Sequence[str]) -> int:
    """Run ``tltool compare``."""
    words = rewrite(argv[1:])
    return run_experiment(
        "compare",
        lecture_arguments(words),
        lambda experiment: compare(experiment, words),
        add_options=add_options,
        classes={"lecture": EXPERIMENTS},
    )


def add_options(parser: Parser) -> None:
    """Add the axes, and what is asked beside the configuration of ``fit``."""
    parser.set_defaults({"model.head": {"class_path": HEAD, "init_args": HEAD_ARGUMENTS}})

    add_cache(parser)
    for axis in AXES:
        parser.add_argument(f"--axes.{axis}", type=Any, nargs="+", help=AXIS_HELP[axis])
    parser.add_argument(
        "--axes.seed",
        type=int,
        nargs="+",
        default=[0, 1, 2, 3, 4],
        help="Seeds that each head trains with; its accuracy is the mean over them.",
    )
    parser.add_argument(
        "--lecture",
        type=Literal["all"] | Claim | None,
        help="Run the lecture's claims as experiments instead, all or the one that is named, "
        "on the digits of scikit-learn or on --data.",
    )
    parser.add_argument("--reference", type=str | None, help="Head to compare with, by name.")
    parser.add_argument("--all_pairs", action="store_true", help="Judge all pairs of heads.")
    parser.add_argument(
        "--lr", type=float | None, help="One learning rate for all; else each has its own."
    )
    parser.add_argument(
        "--folds",
        type=int | None,
        help="Folds of a cross-validation over all images; 5 where no test part reports.",
    )
    parser.add_argument(
        "--write_config", type=str | None, help="File for one of the heads, as YAML for fit."
    )
    parser.add_argument(
        "--write_head",
        type=str | None,
        help="Head for --write_config; else the best one if that is a finding, or the reference.",
    )


def compare(experiment: Experiment, words: Sequence[str]) -> None:
    """Compare heads on the frozen backbone of an experiment, or run the lecture on it.

    Args:
        experiment: Backbone, data, and how long to train.
        words: The user's own arguments, for the commands on the lecture's page.
    """
    lecture = experiment.made.lecture
    if lecture is None:
        heads = _heads(experiment)
    else:
        claims = chosen_experiments(lecture)
    backbone = FrozenBackbone.of(experiment)
    if experiment.data.is_random:
        log.warning("Features are of the images as they are: augmentation is left for fit.")
    if lecture is None:
        _compare(experiment, backbone, *heads)
    else:
        _run_lecture(experiment, backbone, claims, words)


def _heads(experiment: Experiment) -> tuple[dict[str, Variant], str]:
    """Return the heads by name, and the reference; refuse what cannot be, before it takes time."""
    config = experiment.plain_config
    axes = {axis: values for axis in AXES if (values := config["axes"][axis]) is not None}
    head = _head_arguments(config["model"]["head"])
    optimizer = optimizer_spec(config["optimizer"])
    variants, reference = cross_axes(axes or DEFAULT_AXES, head=head, optimizer=optimizer)
    if config["write_head"] is not None and config["write_config"] is None:
        raise ValueError("--write_head needs a file: add --write_config head.yaml.")
    for name in ("reference", "write_head"):
        if config[name] is not None:
            lookup(variants, config[name], kind="head")
    num_features, num_classes = experiment.backbone.num_features, experiment.data.num_classes
    for variant in variants.values():
        check_variant(variant, num_features, num_classes)
    check_output_file(config["write_config"], "--write_config")
    return variants, config["reference"] or reference


def _run_lecture(
    experiment: Experiment,
    backbone: FrozenBackbone,
    claims: Sequence[Claim],
    words: Sequence[str],
) -> None:
    config, data = experiment.config, experiment.data
    features, labels, splits, _ = _features(backbone)
    name = f"{data.name}, {experiment.backbone.name}, {data.summary()}"
    directory = create_run_dir(config.runs_dir, config.name or "lecture")
    run_lecture(claims, make_problem(name, features, labels, splits), directory, words)


def _compare(
    experiment: Experiment,
    backbone: FrozenBackbone,
    variants: dict[str, Variant],
    reference: str,
) -> None:
    config = experiment.config
    features, labels, splits, groups = _features(backbone)
    settings = _training_settings(experiment)
    found = compare_heads(
        features,
        labels,
        variants,
        reference=reference,
        splits=splits if config.folds is None else None,
        groups=groups,
        seeds=config.axes.seed,
        lr=config.lr,
        num_folds=config.folds or 5,
        settings=settings,
        all_pairs=config.all_pairs,
        show_progress=True,
    )
    directory = create_run_dir(config.runs_dir, config.name or "compare")
    found.write_csv(directory / "compare.csv")
    save_figure(draw_curves(comparison_curves(found)), directory / "curves.png")
    save_figure(draw_accuracy_heatmap(found), directory / "heatmap.png")
    print_comparison(found, experiment.data.summary())
    print(f"table     {directory / 'compare.csv'}")
    print(f"pictures  {directory / 'curves.png'}, {directory / 'heatmap.png'}")
    if config.write_config is not None:
        _write_config(experiment, found, settings)
    group = log_group(found, directory, **config.wandb)
    if group is not None:
        print(f"wandb     {len(found.rows)} runs in the group {group}")


def _features(
    backbone: FrozenBackbone,
) -> tuple[torch.Tensor, torch.Tensor, list[str], list[int] | None]:
    """Return features, labels, the split and the group of all images."""
    features, splits, groups = [], list[str](), list[str]()
    for split in split_names(backbone.data):
        images = backbone.data.dataset(split)
        features.append(backbone.features(images))
        splits += [split] * len(images)
        groups += images.samples.groups or [""] * len(images)
    labels = torch.cat([each.labels for each in features if each.labels is not None])
    number_of = {group: number for number, group in enumerate(sorted(set(groups)))}
    numbers = [number_of[group] for group in groups] if all(groups) else None
    return torch.cat([each.tensor().float() for each in features]), labels, splits, numbers


def _training_settings(experiment: Experiment) -> TrainingSettings:
    task, max_epochs = experiment.task, experiment.config.trainer.max_epochs
    if max_epochs is None or max_epochs < 1:
        raise ValueError("Heads train for a number of epochs. Set --trainer.max_epochs 10.")
    phase = _head_phase(experiment)
    weights = task.class_weights
    return TrainingSettings(
        epochs=phase.epochs or max_epochs,
        batch_size=experiment.data.batch_size,
        warmup=phase.warmup,
        decay=phase.decay,
        label_smoothing=task.label_smoothing,
        class_weights=None if weights is None else weights.tolist(),
        log_prior=experiment.config.model.log_prior,
    )


def _head_phase(experiment: Experiment) -> Phase:
    """Return the phase that trains the head alone; the others are no matter of a comparison."""
    phases = experiment.schedule.phases
    alone = [phase for phase in phases if tuple(phase.groups) == ("head",)]
    if len(alone) < len(phases):
        log.warning(
            "%s trains more than the head; heads are compared on features of the frozen "
            "backbone, which may rank them otherwise.",
            type(experiment.strategy).__name__,
        )
    return alone[0] if alone else LINEAR_PROBE


def _write_config(experiment: Experiment, found: Comparison, settings: TrainingSettings) -> None:
    config, weights = experiment.plain_config, experiment.backbone.weights
    name, file = config["write_head"] or found.recommended, config["write_config"]
    lr = found.row(name).lr
    text = head_yaml(config, found.variants[name], lr, settings, weights)
    write_whole(Path(file), text)
    print(f"config    {name}: tltool fit --config {file}")


def _head_arguments(head: Any) -> dict[str, Any]:
    if head["class_path"] not in {"tltool.Head", HEAD}:
        raise ValueError(
            f"Heads of a comparison are Head, got {head['class_path']}. A linear one is "
            "--axes.depth 0."
        )
    arguments: dict[str, Any] = head["init_args"]
    return arguments
