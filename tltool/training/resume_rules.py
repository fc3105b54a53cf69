"""What a changed configuration does when a run is resumed: applied, told or refused, by key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

_SHOWN, _LONGEST = 12, 300  # items of a list in a message, and characters of a value


class Rule(Enum):
    """What a difference between a checkpoint and the configuration that resumes it does."""

    APPLIED = "the new value counts from here on"
    TOLD = "the new value counts from here on, and a warning says what that means"
    REFUSED = "an error names both values"


_ROWS: dict[Rule, dict[str, str]] = {
    Rule.REFUSED: {
        "classes": "its outputs stand for these classes, in this order",
        "objective": "its outputs stand for such labels",
        "preprocessing": "it has learned from images that were prepared so",
        "model": "its weights belong to that model",
        "model.backbone": "its weights belong to that backbone",
        "model.backbone.init_args.weights": "the weights come from the checkpoint",
        "model.backbone.init_args.weights_key": "the weights come from the checkpoint",
        "model.backbone.init_args.allow_partial": "the weights come from the checkpoint",
        "model.head": "its weights belong to that head",
        "model.objective": "its outputs stand for such labels",
        "model.log_prior": "it sets the weights that training starts from",
        "model.closed_form_start": "it sets the weights that training starts from",
        "finetuning.init_args.rank": "its weights belong to adapters of that rank",
        "finetuning.init_args.alpha": "its adapters have learned with that factor",
        "finetuning.init_args.only": "its weights belong to adapters of these layers",
        "model.l2_sp": "it pulls to the weights that training started from",
        "data.init_args.preprocessing": "it has learned from images that were prepared so",
        "data.init_args.value_range": "it has learned from images that were prepared so",
        "data.init_args.crop_mode": "it has learned from images that were prepared so",
        "data.init_args.seed": "images would move from one split to another",
        "data.init_args.val_fraction": "images would move from one split to another",
        "data.init_args.test_fraction": "images would move from one split to another",
        "data.init_args.tuning_fraction": "images would move from one split to another",
        "optimizer": "its state belongs to that optimizer",
        "optimizer.init_args.amsgrad": "its state belongs to an optimizer with that option",
        "optimizer.init_args.centered": "its state belongs to an optimizer with that option",
        "seed_everything": "order and augmentation of the images follow from it",
    },
    Rule.TOLD: {
        "images": "the rest of the training is not on the same images",
        "versions": "results can differ in the last digits",
        "commit": "the code may have changed",
        "world_size": "batch norms that train see other images together from here on; without them "
        "results differ in the last digits",
        "model.regression_loss": "the training loss is another one from here on",
        "model.label_smoothing": "the training loss is another one from here on",
        "model.class_weights": "the training loss is another one from here on",
        "model.backbone.init_args.drop_rate": "training is regularized otherwise from here on",
        "model.backbone.init_args.drop_path_rate": "training is regularized otherwise from here on",
        "data": "the classes and preprocessing are compared, the images may be others",
        "data.init_args.augmentation": "the training images change otherwise from here on",
        "data.init_args.crop_area": "the training images change otherwise from here on",
        "data.init_args.random_erasing": "the training images change otherwise from here on",
        "data.init_args.mixup": "the training images change otherwise from here on",
        "data.init_args.cutmix": "the training images change otherwise from here on",
        "data.init_args.sampling": "an epoch draws other training images from here on",
        "monitor": "the best epoch is chosen anew from here on",
        "finetuning": "the new phases count from the first epoch on, as if they had always been",
        "features.views": "the training images change otherwise from here on",
        "features.mixup": "the training images change otherwise from here on",
        "features.activation_dtype": "what the last layers read is rounded otherwise from here on",
        "trainer.accumulate_grad_batches": "a step is of another number of images from here on",
        "trainer.limit_train_batches": "an epoch is of another length from here on",
        "trainer.overfit_batches": "an epoch is of another length from here on",
        "trainer.precision": "steps are computed otherwise from here on",
        "trainer.gradient_clip_val": "steps are computed otherwise from here on",
        "trainer.gradient_clip_algorithm": "steps are computed otherwise from here on",
        "trainer.sync_batchnorm": "steps are computed otherwise from here on",
    },
    Rule.APPLIED: {
        "model.backbone.init_args.grad_checkpointing": "",
        "model.backbone.init_args.channels_last": "",
        "model.backbone.init_args.compile": "",
        "model.thresholds": "",  # Of what has been learned.
        "data.init_args": "",  # Where the images lie; which ones they are is compared.
        "optimizer.init_args": "",  # lr, weight_decay, betas, ...
        "trainer": "",  # max_epochs, devices, loggers, callbacks, ...
        "wandb": "",
        "features": "",
        "health": "",
        "ending": "",
        "run_dir": "",  # Where the run lies, wherever it lay before.
        "runs_dir": "",
        "name": "",
        "budget": "",  # Turned into epochs when the run began.
        "calibrate": "",
        "save_every_n_steps": "",
        "save_every": "",
        "grace_period": "",
        "ckpt_path": "",
        "config": "",
    },
}
#: For each key of the configuration, or a key in front of it, the rule and its reason.
RULES = {key: (rule, why) for rule, rows in _ROWS.items() for key, why in rows.items()}


@dataclass(frozen=True)
class Difference:
    """One value that is not what the checkpoint was trained with.

    Args:
        key: Dotted key of the configuration, or a fact about the run such as ``classes``.
        before: The value in the checkpoint.
        now: The value that it is to be resumed with.
    """

    key: str
    before: Any
    now: Any

    @property
    def rule(self) -> Rule:
        """What it does."""
        return find_rule(self.key)[0]

    @property
    def words(self) -> str:
        """The key and both values."""
        return f"{self.key} was {_shown(self.before)} and is {_shown(self.now)}"

    def __str__(self) -> str:
        """Name the key, both values, and what follows from the difference."""
        why = find_rule(self.key)[1]
        return f"{self.words}: {why}" if why else self.words


def find_rule(key: str) -> tuple[Rule, str]:
    """Return the rule of a key and its reason: those of the longest key in front of it.

    Raises:
        KeyError: If the table has none.

    Example:
        >>> find_rule("model.head.init_args.hidden_features")
        (<Rule.REFUSED: 'an error names both values'>, 'its weights belong to that head')
        >>> find_rule("trainer.max_epochs")[0].name
        'APPLIED'
    """
    words = key.split(".")
    for length in range(len(words), 0, -1):
        row = RULES.get(".".join(words[:length]))
        if row is not None:
            return row
    raise KeyError(key)


def compare(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> list[Difference]:
    """Return the differences between two nested mappings of plain data.

    Of a class that differs, its arguments are left out: they are those of another class. A key that
    one of them lacks, such as of another version, is left out too.

    Args:
        before: From the checkpoint.
        now: What it is to be resumed with.
        prefix: Put in front of the keys.

    Example:
        >>> for one in compare({"optimizer": {"init_args": {"lr": 0.1, "eps": 0}}, "name": None},
        ...                    {"optimizer": {"init_args": {"lr": 0.2, "eps": 0}}, "name": None}):
        ...     print(one)
        optimizer.init_args.lr was 0.1 and is 0.2
    """
    if before.get("class_path") != now.get("class_path"):
        return [Difference(f"{prefix}class_path", before.get("class_path"), now.get("class_path"))]
    found: list[Difference] = []
    for key in before.keys() & now.keys():
        old, new = before[key], now[key]
        if old == new:
            continue
        if _is_section(key, old, prefix) and _is_section(key, new, prefix):
            found += compare(old, new, f"{prefix}{key}.")
        else:
            found.append(Difference(f"{prefix}{key}", old, new))
    return sorted(found, key=lambda difference: difference.key)


def check(differences: Iterable[Difference], checkpoint: str) -> None:
    """Raise if a checkpoint cannot be resumed with these differences.

    Args:
        differences: From `compare`.
        checkpoint: Its name, for the message.

    Raises:
        ValueError: With all of those that are refused.
    """
    refused = [difference for difference in differences if difference.rule is Rule.REFUSED]
    if refused:
        raise ValueError(
            f"{checkpoint} cannot be resumed so: {'; '.join(map(str, refused))}. Give back what it "
            "was trained with (the config.yaml of its run has it all), or start a new run, without "
            "the checkpoint."
        )


def _is_section(key: str, value: Any, prefix: str) -> bool:
    """Tell keys of the configuration from a value that is a mapping, such as class weights."""
    return isinstance(value, Mapping) and (
        not prefix or key == "init_args" or "class_path" in value
    )


def _shown(value: Any) -> str:
    """Return a value in few words: of long lists and texts only the beginning."""
    if isinstance(value, list) and len(value) > _SHOWN:
        return f"[{', '.join(map(repr, value[:_SHOWN]))}, ... ({len(value)})]"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
