"""`tltool compare`: many heads on one frozen backbone, and which differences are real."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import Namespace

from tltool._atomic_write import save_figure, write_whole
from tltool._lookup import lookup
from tltool._output_file import check_output_file
from tltool._plain_text import one_line, shell_command
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.compare_config import head_yaml, optimizer_spec
from tltool.cli.compare_print import print_comparison
from tltool.cli.frozen_backbone import (
    FROZEN_BACKBONE,
    features_of,
    set_up_frozen_backbone,
    split_names,
)
from tltool.cli.lecture import (
    chosen_experiments,
    lecture_arguments,
    make_problem,
    run_lecture,
)
from tltool.cli.sections import HEAD
from tltool.cli.short_forms import rewrite
from tltool.comparison.compare import compare_heads
from tltool.comparison.cross_validation import check_num_folds
from tltool.comparison.lr_selection import LR
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import AXES, Variant, check_variant, cross_axes
from tltool.data.loading.labels import label_tensor
from tltool.finetuning.strategies import LinearProbe
from tltool.lecture.catalog import EXPERIMENTS
from tltool.lecture.claim import Claim
from tltool.reporting.figures.accuracy_heatmap import comparison_curves, draw_accuracy_heatmap
from tltool.reporting.figures.curves import draw_curves
from tltool.reporting.wandb.comparison_group import log_group
from tltool.training.run_directory import create_run_dir

log = logging.getLogger(__name__)

DEFAULT_AXES: dict[str, list[Any]] = {"activation": ["relu", "gelu", "tanh"], "depth": [0, 1]}
QUICK = {"seeds": 2, "folds": 3}
LINEAR_PROBE = LinearProbe().schedule(("head",), max_epochs=1).phases[0]


def main(argv: Sequence[str]) -> int:
    """Run ``tltool compare``."""
    words = rewrite(argv[1:])
    head = {"class_path": HEAD, "init_args": {"hidden_features": [256]}}
    return run_experiment(
        "compare",
        lecture_arguments(words),
        compare,
        check=check_question,
        classes={"lecture": EXPERIMENTS},
        defaults={"model.head": head, **FROZEN_BACKBONE},
        words=words,
    )


def check_question(config: Namespace) -> None:
    """Check what ``compare`` is asked, before it takes time.

    Raises:
        ValueError: If the options do not go together.
        FileNotFoundError: If there is no folder for the file.
    """
    if config.write_head is not None and config.write_config is None:
        raise ValueError("--write_head needs a file: add --write_config head.yaml.")
    if config.run_dir is not None:
        raise ValueError(
            "`run_dir` is of fit: each comparison has a new directory. Set --runs_dir and --name."
        )
    if config.folds is not None:
        check_num_folds(config.folds, choose=config.lr is None and not config.quick)
    check_output_file(config.write_config, "--write_config")


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What heads differ in; they are all combinations.

    Args:
        activation: Activations, for example relu gelu selu.
        norm: Norms in front of the activations, for example null batch layer.
        initializer: Initializers of the hidden weights.
        bias: Starts of the hidden biases.
        input_norm: Normalizations of the features, for example null standardize.
        dropout: Probabilities of dropout.
        depth: Numbers of hidden layers; 0 is a linear head.
        width: Widths of the hidden layers.
        optimizer: Optimizers, for example AdamW '{name: SGD, nesterov: true}'.
        seed: Seeds that each head trains with; its accuracy is the mean over them. 0 to 4 if there
            are none.
    """

    activation: list[Any] | None = None
    norm: list[Any] | None = None
    initializer: list[Any] | None = None
    bias: list[Any] | None = None
    input_norm: list[Any] | None = None
    dropout: list[Any] | None = None
    depth: list[Any] | None = None
    width: list[Any] | None = None
    optimizer: list[Any] | None = None
    seed: list[int] | None = None


def compare(
    experiment: Experiment,
    words: Sequence[str],
    *,
    axes: Axes,
    lecture: Literal["all"] | Claim | None = None,
    reference: str | None = None,
    all_pairs: bool = False,
    lr: LR | None = None,
    folds: int | None = None,
    quick: bool = False,
    write_config: Path | None = None,
    write_head: str | None = None,
    cache: Path | None = None,
) -> None:
    """Compare heads on the frozen backbone of an experiment, or run the lecture on it.

    Args:
        experiment: Backbone, data, and how long to train.
        words: The user's own arguments, for the commands on the lecture's page.
        axes: What the heads differ in.
        lecture: Run the lecture's claims as experiments instead, all or the one that is named, on
            the digits of scikit-learn or on --data.
        reference: Head to compare with, by name.
        all_pairs: Judge all pairs of heads.
        lr: One learning rate for all, or "usual" for that of each optimizer; else each has its own.
        folds: Folds of a cross-validation over all images; 5 where no test split reports.
        quick: A first look with 2 seeds, 3 folds, and the usual learning rate of each optimizer,
            where these are not given: at most a seventh of the trainings.
        write_config: File for one of the heads, as YAML for fit.
        write_head: Head for --write_config; else the best one if that is a finding, or the
            reference.
        cache: Directory of the cache; without it TLTOOL_CACHE, or ~/.cache/tltool/features.
    """
    config, data = experiment.plain_config, experiment.data
    if lecture is None:
        variants, usual = _heads(experiment, axes)
        reference = reference or usual
        for name in filter(None, (reference, write_head)):
            lookup(variants, name, kind="head")
        settings = _training_settings(experiment)
    else:
        check_lecture(experiment)
        claims = chosen_experiments(lecture)
    options = set_up_frozen_backbone(experiment, cache)
    if data.is_random:
        log.warning("Features are of the images as they are: augmentation is left for fit.")
    features, labels, splits, groups = _features(experiment, options)
    if quick and "test" not in splits:
        folds = folds or QUICK["folds"]  # A lr that is not chosen leaves few images to report.
    if lecture is not None:
        name = f"{data.name}, {experiment.backbone.name}, {data.summary()}"
        directory = create_run_dir(config["runs_dir"], config["name"] or "lecture")
        run_lecture(claims, make_problem(name, features, labels, splits), directory, words)
        return
    found = compare_heads(
        features,
        labels,
        variants,
        reference=reference,
        splits=splits if folds is None else None,
        groups=groups,
        seeds=axes.seed or range(QUICK["seeds"] if quick else 5),
        lr="usual" if quick and lr is None else lr,
        num_folds=folds or 5,
        settings=settings,
        all_pairs=all_pairs,
        show_progress=True,
    )
    directory = create_run_dir(config["runs_dir"], config["name"] or "compare")
    found.write_csv(directory / "compare.csv")
    save_figure(draw_curves(comparison_curves(found)), directory / "curves.png")
    save_figure(draw_accuracy_heatmap(found), directory / "heatmap.png")
    print_comparison(found, data.summary())
    print(f"table     {one_line(directory / 'compare.csv')}")
    pictures = f"{directory / 'curves.png'}, {directory / 'heatmap.png'}"
    print(f"pictures  {one_line(pictures)}")
    if write_config is not None:
        name = write_head or found.recommended
        lr, weights = found.row(name).lr, experiment.backbone.weights
        write_whole(write_config, head_yaml(config, found.variants[name], lr, settings, weights))
        print(f"config    {name}: {shell_command('tltool', 'fit', '--config', write_config)}")
    group = log_group(found, directory, **config["wandb"])
    if group is not None:
        print(f"wandb     {len(found.rows)} runs in the group {group}")


def check_lecture(experiment: Experiment) -> None:
    """Raise unless the images have one class each, which is what the lecture is about."""
    objective = experiment.data.objective
    if objective != "single_label":
        raise ValueError(
            f"The lecture is about images of one class each, and the objective is {objective}. "
            "Leave out --model.objective, or --lecture."
        )


def _heads(experiment: Experiment, axes: Axes) -> tuple[dict[str, Variant], str]:
    """Return the heads by name, and which is the reference; refuse what cannot be built."""
    config = experiment.plain_config
    head = config["model"]["head"]
    if head["class_path"] not in {"tltool.Head", HEAD}:
        raise ValueError(
            f"Heads of a comparison are Head, got {head['class_path']}. A linear one is "
            "--axes.depth 0."
        )
    given = {axis: values for axis in AXES if (values := getattr(axes, axis)) is not None}
    optimizer = optimizer_spec(config["optimizer"])
    variants, reference = cross_axes(
        given or DEFAULT_AXES, head=head["init_args"], optimizer=optimizer
    )
    num_features, num_classes = experiment.backbone.num_features, experiment.data.num_classes
    for variant in variants.values():
        check_variant(variant, num_features, num_classes)
    return variants, reference


def _features(
    experiment: Experiment, options: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor, list[str], list[int] | None]:
    """Return features, labels, the split and the group of all images."""
    features, labels_of_splits, splits, groups = [], list[torch.Tensor](), list[str](), list[str]()
    for split in split_names(experiment.data):
        images = experiment.data.dataset(split)
        features.append(features_of(experiment, images, **options))
        labels_of_splits.append(label_tensor(images.samples.labels or []))
        splits += [split] * len(images)
        groups += images.samples.groups or [""] * len(images)
    labels = torch.cat(labels_of_splits)
    number_of = {group: number for number, group in enumerate(sorted(set(groups)))}
    numbers = [number_of[group] for group in groups] if all(groups) else None
    return torch.cat([each.tensor().float() for each in features]), labels, splits, numbers


def _training_settings(experiment: Experiment) -> TrainingSettings:
    """Return how heads train: as in the only phase, if it trains the head alone."""
    task, max_epochs = experiment.task, experiment.config.trainer.max_epochs
    if max_epochs is None or max_epochs < 1:
        raise ValueError("Heads train for a number of epochs. Set --trainer.max_epochs 10.")
    phases = experiment.schedule.phases
    alone = [phase for phase in phases if tuple(phase.groups) == ("head",)]
    if len(alone) < len(phases):
        log.warning(
            "%s trains more than the head; heads are compared on features of the frozen "
            "backbone, which may rank them otherwise.",
            type(experiment.strategy).__name__,
        )
    phase = alone[0] if alone and len(phases) == 1 else LINEAR_PROBE
    weights = task.class_weights
    return TrainingSettings(
        epochs=max_epochs,
        batch_size=experiment.data.batch_size,
        warmup=phase.warmup,
        decay=phase.decay,
        label_smoothing=task.label_smoothing,
        class_weights=None if weights is None else weights.tolist(),
        log_prior=experiment.config.model.log_prior,
        sampling=experiment.data.sampling,
        objective=task.objective,
        regression_loss=task.regression_loss,
    )
