"""The configuration of a resumed run, compared with that in its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tltool.cli.parser import Parser
from tltool.models.weights.loading import resolve_auto
from tltool.models.weights.model_folder import LOCAL
from tltool.training.adapter_file import is_adapter_file
from tltool.training.checkpoint_io import CONFIG, LOADED_HASH, TASK, read_checkpoint
from tltool.training.epoch_position import read_position
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import model_differences
from tltool.training.resume_rules import Difference, check, compare

_IGNORED = {"ckpt_path", "config", "run_dir"}  # Always others.
_NO_FILES = ("pretrained", "random", "package:", "hf-hub:")


class ResumedConfig:
    """What a checkpoint was trained with, to compare with before anything takes time.

    Args:
        ckpt_path: The checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint of tltool.
    """

    def __init__(self, ckpt_path: str) -> None:
        self.name = Path(ckpt_path).name
        if is_adapter_file(Path(ckpt_path)):
            raise ValueError(
                f"{self.name} holds what a training has changed, and not where it was. Name a "
                "checkpoint to resume from, such as last.ckpt."
            )
        checkpoint = read_checkpoint(ckpt_path, map_location="meta")
        self._task_config = checkpoint[TASK]
        #: See `Backbone.loaded_hash`.
        self.loaded_hash: str | None = checkpoint.get(LOADED_HASH)
        #: The configuration of ``fit``; empty where the run was started from Python.
        self.config: dict[str, Any] = checkpoint.get(CONFIG, {})
        loops = checkpoint.get("loops")  # There are none beside weights alone.
        #: How many epochs are over, and how many optimizer steps are done.
        self.num_epochs = read_position(loops["fit_loop"]).epoch if loops else 0
        self.num_steps: int = checkpoint.get("global_step", 0)

    @property
    def seed(self) -> int | None:
        """The seed of the run, if it had one."""
        seed = self.config.get("seed_everything")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    def differences(self, config: Mapping[str, Any]) -> list[Difference]:
        """Return what a configuration changes.

        Args:
            config: Plain data, see `plain_config`.

        Raises:
            ValueError: If that cannot be changed.
        """
        found = self.changes(config)
        check(found, self.name)
        return found

    def changes(self, config: Mapping[str, Any]) -> list[Difference]:
        """Return what a configuration changes, be it allowed or not; see `differences`."""
        before, now = (_comparable(one) for one in (self.config, config))
        return compare(before, now)

    def check_task(self, task: ImageTask) -> None:
        """Raise if the weights are of another model, or of other classes or preprocessing."""
        check(model_differences(self._task_config, task.task_config), self.name)


def plain_config(parser: Parser, config: Any) -> dict[str, Any]:
    """Return a parsed configuration as plain data, as ``config.yaml`` holds it."""
    plain: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False))
    return plain


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with what means the same written in the same way."""
    result = {key: value for key, value in config.items() if key not in _IGNORED}
    model = result.get("model", {})
    backbone = model.get("backbone", {})
    init_args = backbone.get("init_args", {})
    if "weights" in init_args:
        name = _folder_alone(init_args["name"])
        init_args = {**init_args, "weights": _source(init_args["weights"], name), "name": name}
        result["model"] = {**model, "backbone": {**backbone, "init_args": init_args}}
    return result


def _folder_alone(name: str) -> str:
    """Return a backbone's name, of a folder only that it is one; the task says its model."""
    return "a folder" if name.startswith(LOCAL) else name


def _source(weights: str, name: str) -> str:
    """Return where weights come from: of files only that, for a file may have moved."""
    source = "a file" if name == "a folder" and weights == "auto" else resolve_auto(weights, name)
    return source if source.startswith(_NO_FILES) else "a file"
