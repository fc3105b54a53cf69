"""What `finetuning: Auto` chooses for a run, written into its configuration."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace, dict_to_namespace

from tltool._objective import MONITORS
from tltool.cli.trainer_section import uses_gpu, world_size
from tltool.data.transforms.augmentation import Augmentation
from tltool.diagnostics.advice.strategy_choice import choose_strategy
from tltool.diagnostics.advice.training_time import measure_training_time
from tltool.finetuning.durations import parse_duration
from tltool.finetuning.strategies import LPFT, Auto, ChosenGroups, FinetuningStrategy, LinearProbe
from tltool.finetuning.strategies.auto import num_epochs
from tltool.models.class_paths import check_imported
from tltool.training.callbacks.early_end import stops_on_validation
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.ending_options import start_competes
from tltool.training.distributed.fsdp2 import is_sharding

if TYPE_CHECKING:
    from tltool.cli.build import Experiment

# Taken where nothing else is given, before anything is made. `Auto`: a share of the training images
# that chooses, where the data have no test split.
_TUNING = {"data.init_args.tuning_fraction": 0.2}
# A loss against overconfidence on few images, for `Auto` and where the backbone trains.
_LOSS = {"model.label_smoothing": 0.1}
AUGMENTATION: Augmentation = "crop"
"""Of the training images, where layers of the backbone train."""
UNBALANCED = 3
"""Where a class has so many times the images of another one, the macro F1 chooses."""
# Keys that say what was chosen, once a run has begun.
_CHOSEN = (
    *("data.init_args.augmentation", "data.init_args.tuning_fraction", "monitor"),
    "model.label_smoothing",
    *("ending.average", "ending.choose", "trainer.max_epochs"),
)


def take_choice_of_checkpoint(config: Namespace, before: Mapping[str, Any]) -> None:
    """Put what a run chose when it began in the place of `Auto` and a budget: it chooses once.

    Args:
        config: The configuration that resumes it.
        before: That in its checkpoint.

    Raises:
        ValueError: If its strategy is a class that is not imported.
    """
    if config.trainer.max_epochs is None and "trainer" in before:
        config.budget, config.trainer.max_epochs = None, before["trainer"]["max_epochs"]
    strategy = before.get("finetuning")
    if not strategy or not is_auto(config):
        return
    check_imported(strategy, "The checkpoint")
    config.finetuning = _section(strategy["class_path"], strategy.get("init_args") or {})
    for key in _CHOSEN:
        if key in config and config[key] is None:  # A datamodule may lack an option.
            config[key] = functools.reduce(
                lambda section, word: section[word], key.split("."), before
            )


def take_batch_size_of_checkpoint(config: Namespace, before: Mapping[str, Any]) -> None:
    """Put the batch size that a run began with in the place of one that follows from the images.

    Args:
        config: The configuration that resumes it.
        before: That in its checkpoint; empty of a run from Python.
    """
    size = (before.get("data", {}).get("init_args") or {}).get("batch_size")
    options = config.data.init_args
    if size is not None and options.get("batch_size", size) is None:
        options.batch_size = size


def epochs_of_budget(experiment: "Experiment", seconds: float) -> int:
    """Return the epochs that a budget allows, from measured steps of the last phase."""
    made, data, phase = experiment.made, experiment.data, experiment.schedule.phases[-1]
    is_whole = not is_sharding(made.trainer.strategy)  # Else images are read.
    taken = measure_training_time(
        experiment.task,
        data,
        phase,
        find_front=lambda backbone: (
            made.features.planned_source(backbone, phase, data) if is_whole else None
        ),
        views=made.features.num_views(data),
        devices=world_size(experiment.config.trainer),
    )
    return taken.epochs_within(seconds)


def is_auto(config: Namespace) -> bool:
    """Tell whether a configuration leaves the choice of the strategy to us."""
    path: str = config.finetuning.class_path
    return path.startswith("tltool.") and path.endswith(f".{Auto.__name__}")


def fill_defaults(config: Namespace, strategy: FinetuningStrategy) -> None:
    """Set what goes with a strategy, where nothing else is given.

    On brain MRI, 50 images of each class, crops and the smoothed loss raise full fine-tuning from
    .834 to .888: one seed, on images that chose them (`scripts/benchmark/README.md`).
    """
    defaults: dict[str, Any] = {}
    if isinstance(strategy, Auto):
        defaults = _TUNING | _LOSS  # The augmentation depends on what it chooses.
    elif not trains_head_alone(strategy):
        defaults = _LOSS | {"data.init_args.augmentation": AUGMENTATION}
    if config.model.objective != "single_label":
        defaults.pop("model.label_smoothing", None)
    for key, value in defaults.items():
        if key in config and config[key] is None:  # A datamodule may lack an option.
            config[key] = value


def trains_head_alone(strategy: FinetuningStrategy) -> bool:
    """Tell whether a strategy leaves the backbone as it is in all of its phases."""
    if isinstance(strategy, ChosenGroups):
        return all({"head", -1}.issuperset(phase.trains) for phase in strategy.phases)
    return isinstance(strategy, LinearProbe)


def check_budget(config: Namespace) -> None:
    """Raise if a budget is none, or nothing turns it into epochs.

    Raises:
        ValueError: What to type instead.
    """
    if config.budget is None:
        return
    parse_duration(config.budget)
    if config.trainer.max_epochs is not None:
        raise ValueError(
            "`budget` and `trainer.max_epochs` are two lengths of training, but one is enough. "
            "Leave out one of them."
        )
    if not is_auto(config):
        name = config.finetuning.class_path.rpartition(".")[2]
        raise ValueError(
            f"`budget` is turned into epochs by --finetuning Auto, not by {name}. Set "
            "--trainer.max_epochs, or --trainer.max_time to stop in the middle."
        )


def with_choice(experiment: "Experiment", auto: Auto, *, has_epochs: bool) -> "Experiment":
    """Return an experiment with the strategy and the epochs that `Auto` chooses, in words too.

    They are written into its configuration.

    Args:
        experiment: With `Auto` for its strategy.
        auto: The rule.
        has_epochs: Whether the number of epochs is given.
    """
    strategy, why = _choose(experiment, auto)
    chosen = dataclasses.replace(experiment, strategy=strategy, choice=f"{_words(strategy)}: {why}")
    config, data = experiment.config, experiment.data
    budget, config.budget = config.budget, None
    if budget is None:
        if not has_epochs:
            epochs = num_epochs(
                strategy,
                len(data.samples("train")),
                data.batch_size,
                num_accumulated=config.trainer.accumulate_grad_batches,
            )
            config.trainer.max_epochs = experiment.made.trainer.max_epochs = epochs
        return chosen
    epochs = epochs_of_budget(chosen, parse_duration(budget))
    if isinstance(strategy, LPFT) and epochs <= strategy.probe_epochs:
        # Its probe would take all of them: choose for one epoch, and measure that.
        config.budget, config.trainer.max_epochs = budget, 1
        return with_choice(experiment, auto, has_epochs=has_epochs)
    config.trainer.max_epochs = experiment.made.trainer.max_epochs = epochs
    choice = f"{chosen.choice}; {budget} are enough for {epochs} epochs"
    # A new one: the schedule is of another number of epochs.
    return dataclasses.replace(chosen, choice=choice, has_measured_epochs=True)


def _choose(experiment: "Experiment", auto: Auto) -> tuple[FinetuningStrategy, str]:
    config, data = experiment.config, experiment.data
    _fill_ending(experiment)
    strategy, why = choose_strategy(
        experiment.task,
        data,
        max_epochs=config.trainer.max_epochs or 1,
        on_gpu=uses_gpu(config.trainer),
        auto=auto,
    )
    config.finetuning = _section(_path(type(strategy)), dataclasses.asdict(strategy))  # type: ignore[call-overload]
    counts = data.train_class_counts
    if config.monitor is None:
        objective = data.objective
        is_uneven = objective == "single_label" and max(counts) > UNBALANCED * min(counts)
        config.monitor = "val/f1" if is_uneven else MONITORS[objective]
    options = config.data.init_args
    is_open = "augmentation" in options and data.augmentation is None
    if is_open and not trains_head_alone(strategy):
        options.augmentation = AUGMENTATION
        data.augmentation = AUGMENTATION
    return strategy, why


def _fill_ending(experiment: "Experiment") -> None:
    """Choose what competes at the end and by which rule, each where it is not given."""
    ending, made = experiment.config.ending, experiment.made
    # Without a test split the validation images report, and must not choose.
    chooses = experiment.data.splits.test is not None
    if ending.average is None:
        averages = chooses and ending.choose != "last" and not is_sharding(made.trainer.strategy)
        # Between random weights and trained ones there is nothing to find.
        averages &= experiment.backbone.weights != "random"
        ending.average = "wise_ft" if averages else "none"
    if ending.choose is None:
        # `EarlyStopping` chooses on them when to end, and its last epochs did not improve.
        chooses |= ending.average != "none" or stops_on_validation(made.trainer.callbacks)
        competes = start_competes(ending.average, ending.points, ending.include_start)
        ending.choose = "trained" if competes else "best" if chooses else "last"
    made.ending = Ending(**vars(ending))


def _words(strategy: Any) -> str:
    """Return a strategy with what is not at its default.

    Example:
        >>> from tltool.finetuning.strategies import LastBlocks
        >>> _words(LastBlocks(num_groups=2))
        'LastBlocks(num_groups=2)'
    """
    changed = [f"{name}={value!r}" for name, value in changed_options(strategy).items()]
    return f"{type(strategy).__name__}({', '.join(changed)})"


def changed_options(strategy: Any) -> dict[str, Any]:
    """Return the options of a strategy that are not at their default."""
    values = {
        field.name: (getattr(strategy, field.name), field.default) for field in fields(strategy)
    }
    return {name: value for name, (value, default) in values.items() if value != default}


def _section(class_path: str, init_args: Mapping[str, Any]) -> Namespace:
    """Return the section of a class, as the parser makes it."""
    made: Namespace = dict_to_namespace({"class_path": class_path, "init_args": dict(init_args)})
    return made


def _path(strategy: type[FinetuningStrategy]) -> str:
    return f"{strategy.__module__}.{strategy.__qualname__}"
