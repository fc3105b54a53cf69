"""`tltool compare`: many heads on one frozen backbone, and which differences are real."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.cli import LightningArgumentParser

from tltool.cli.compare_config import head_yaml, optimizer_spec
from tltool.cli.compare_plot import plot_curves, plot_heatmap
from tltool.cli.compare_print import print_comparison
from tltool.cli.features_compute import FeaturesCLI
from tltool.cli.fit import run_cli
from tltool.commands.lecture import (
    chosen_experiments,
    lecture_arguments,
    make_problem,
    run_lecture,
)
from tltool.comparison.compare import compare_heads
from tltool.comparison.recipe import Recipe
from tltool.comparison.result import Comparison
from tltool.comparison.variants import AXES, check_variant, cross_axes
from tltool.finetuning.groups import layer_groups
from tltool.finetuning.phase import Phase
from tltool.layers.lookup import lookup
from tltool.lecture.catalog import EXPERIMENTS
from tltool.lecture.experiment import Experiment
from tltool.tracking.run_folder import create_run_folder
from tltool.tracking.wandb_group import log_group
from tltool.whole_file import write_whole

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


class CompareCLI(FeaturesCLI):
    """Build backbone and data from the configuration of ``fit``, and compare heads on it."""

    command = "compare"
    own_classes: ClassVar[dict[str, tuple[type[Any], ...]]] = {"lecture": EXPERIMENTS}

    def __init__(self, args: Sequence[str]) -> None:
        self.words = list(args[1:])
        super().__init__(["fit", *lecture_arguments(self.words)])

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the axes, and what is asked beside the configuration of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.set_defaults({"model.head": _head_default()})
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
            type=Literal["all"] | Experiment | None,
            help="Run the lecture's claims as experiments instead, all or the one that is named, "
            "on the digits of scikit-learn or on --data.",
        )
        parser.add_argument("--reference", type=str | None, help="Head to compare with, by name.")
        parser.add_argument("--all-pairs", action="store_true", help="Judge all pairs of heads.")
        parser.add_argument(
            "--lr", type=float | None, help="One learning rate for all; else each has its own."
        )
        parser.add_argument(
            "--folds",
            type=int | None,
            help="Folds of a cross-validation over all photos; 5 where no test part reports.",
        )
        parser.add_argument(
            "--write-config", type=str | None, help="File for one of the heads, as YAML for fit."
        )
        parser.add_argument(
            "--write-head",
            type=str | None,
            help="Head for --write-config; else the best one if that is a finding, or the "
            "reference.",
        )

    def before_fit(self) -> None:
        """Refuse what cannot be, before anything is computed."""
        lecture = self.config_init["fit"]["lecture"]
        if lecture is None:
            self._check_heads()
        else:
            self.experiments = chosen_experiments(lecture)
        super().before_fit()

    def fit(self, **kwargs: Any) -> None:
        """Compare heads, or run the lecture."""
        if self.datamodule.is_random:
            log.warning("Features are of the photos as they are: augmentation is left for fit.")
        if self.config["fit"]["lecture"] is None:
            self._compare()
        else:
            self._run_lecture()

    def _check_heads(self) -> None:
        config = self.config["fit"]
        axes = {axis: values for axis in AXES if (values := config["axes"][axis]) is not None}
        init_args = _head_arguments(config["model"]["head"])
        optimizer = optimizer_spec(config["optimizer"])
        self.variants, reference = cross_axes(
            axes or DEFAULT_AXES, head=init_args, optimizer=optimizer
        )
        if config["write_head"] is not None and config["write_config"] is None:
            raise ValueError("--write-head needs a file: add --write-config head.yaml.")
        for name in ("reference", "write_head"):
            if config[name] is not None:
                lookup(self.variants, config[name], kind="head")
        self.reference = config["reference"] or reference
        backbone, num_classes = self.model.backbone, self.datamodule.num_classes
        for variant in self.variants.values():
            check_variant(variant, backbone.num_features, num_classes)
        if config["write_config"] is not None:
            _check_file(Path(config["write_config"]))

    def _run_lecture(self) -> None:
        config, data = self.config["fit"], self.datamodule
        features, labels, parts, _ = self._data()
        name = f"{data.name}, {self.model.backbone.name}, {data.summary()}"
        folder = create_run_folder(config["runs_dir"], config["name"] or "lecture")
        run_lecture(
            self.experiments, make_problem(name, features, labels, parts), folder, self.words
        )

    def _compare(self) -> None:
        config = self.config["fit"]
        features, labels, parts, groups = self._data()
        recipe = self._recipe()
        found = compare_heads(
            features,
            labels,
            self.variants,
            reference=self.reference,
            parts=parts if config["folds"] is None else None,
            groups=groups,
            seeds=config["axes"]["seed"],
            lr=config["lr"],
            num_folds=config["folds"] or 5,
            recipe=recipe,
            all_pairs=config["all_pairs"],
            show_progress=True,
        )
        folder = create_run_folder(config["runs_dir"], config["name"] or "compare")
        found.write_csv(folder / "compare.csv")
        plot_curves(found, folder / "curves.png")
        plot_heatmap(found, folder / "heatmap.png")
        print_comparison(found, self.datamodule.summary())
        print(f"table     {folder / 'compare.csv'}")
        print(f"pictures  {folder / 'curves.png'}, {folder / 'heatmap.png'}")
        if config["write_config"] is not None:
            self._write_config(found, recipe)
        group = log_group(found, folder, **config["wandb"])
        if group is not None:
            print(f"wandb     {len(found.rows)} runs in the group {group}")

    def _data(self) -> tuple[torch.Tensor, torch.Tensor, list[str], list[int] | None]:
        """Return features, labels, the part and the group of all photos."""
        features, parts, groups = [], list[str](), list[str]()
        for part in self.part_names():
            photos = self.datamodule.dataset(part)
            features.append(self.features(photos))
            parts += [part] * len(photos)
            groups += photos.samples.groups or [""] * len(photos)
        labels = torch.cat([each.labels for each in features if each.labels is not None])
        number_of = {group: number for number, group in enumerate(sorted(set(groups)))}
        numbers = [number_of[group] for group in groups] if all(groups) else None
        return torch.cat([each.tensor().float() for each in features]), labels, parts, numbers

    def _recipe(self) -> Recipe:
        config, task = self.config["fit"], self.model
        max_epochs = config["trainer"]["max_epochs"]
        if max_epochs is None or max_epochs < 1:
            raise ValueError("Heads train for a number of epochs. Set --trainer.max_epochs 10.")
        phase = self._head_phase(max_epochs)
        weights = task.class_weights
        return Recipe(
            epochs=phase.epochs or max_epochs,
            batch_size=self.datamodule.batch_size,
            warmup=phase.warmup,
            decay=phase.decay,
            label_smoothing=task.label_smoothing,
            class_weights=None if weights is None else weights.tolist(),
            log_prior=config["model"]["log_prior"],
        )

    def _head_phase(self, max_epochs: int) -> Phase:
        """Return the phase that trains the head alone; the others are no matter of a comparison."""
        strategy = self.config_init["fit"]["finetuning"]
        groups = list(layer_groups(self.model))
        schedule = strategy.resolved_schedule(groups, max_epochs)
        alone = [phase for phase in schedule.phases if tuple(phase.groups) == ("head",)]
        if len(alone) < len(schedule.phases):
            log.warning(
                "%s trains more than the head; heads are compared on features of the frozen "
                "backbone, which may rank them otherwise.",
                type(strategy).__name__,
            )
        phase: Phase = alone[0] if alone else LINEAR_PROBE
        return phase

    def _write_config(self, found: Comparison, recipe: Recipe) -> None:
        config, backbone = self.config["fit"], self.model.backbone
        name, file = config["write_head"] or found.recommended, config["write_config"]
        rate = found.row(name).rate
        text = head_yaml(config.as_dict(), found.variants[name], rate, recipe, backbone.weights)
        write_whole(Path(file), text)
        print(f"config    {name}: tltool fit --config {file}")


LINEAR_PROBE = Phase("probe", ("head",), warmup=0.1, decay="cosine")


def _head_default() -> dict[str, Any]:
    return {"class_path": "tltool.models.heads.MLPHead", "init_args": {"hidden_features": [256]}}


def _head_arguments(head: Any) -> dict[str, Any]:
    if head["class_path"] not in {"tltool.MLPHead", "tltool.models.heads.MLPHead"}:
        raise ValueError(
            f"Heads of a comparison are MLPHead, got {head['class_path']}. A linear one is "
            "--axes.depth 0."
        )
    arguments: dict[str, Any] = head["init_args"].as_dict()
    return arguments


def _check_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{path.parent}' for --write-config. Create it first."
        )


def main(argv: Sequence[str]) -> int:
    """Run ``tltool compare``."""
    return run_cli(CompareCLI, ["fit", *argv[1:]])
