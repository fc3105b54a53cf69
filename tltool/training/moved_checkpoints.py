"""Checkpoint callbacks of a run directory that has moved: they keep their best scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


def follow_moved_files_(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Let the states of ``ModelCheckpoint`` in a checkpoint name the files where they lie now.

    Lightning forgets the scores where the directory is another one, and a worse epoch replaces the
    best (https://github.com/Lightning-AI/pytorch-lightning/issues/15705). Where the best file is
    not in the directory of this run, it is left to forget them: this run has none to compare with.

    Args:
        checkpoint: As it was read; the states are changed in place.
        trainer: Whose callbacks are to load them, with their directories resolved.
    """
    states = checkpoint.get("callbacks", {})
    for callback in trainer.checkpoint_callbacks:
        state = states.get(callback.state_key, {})
        if not isinstance(callback, ModelCheckpoint) or "dirpath" not in state:
            continue
        if state["dirpath"] != callback.dirpath:
            states[callback.state_key] = _at(Path(str(callback.dirpath)), state)


def _at(directory: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with the files in a directory; as it is, if the best one is not there."""

    def here(path: str) -> str:
        return str(directory / Path(path).name) if path else path

    paths = {name: here(state[name]) for name in _PATHS}
    if paths["best_model_path"] and not Path(paths["best_model_path"]).exists():
        return state
    scores = {here(path): score for path, score in state["best_k_models"].items()}
    there = {path: score for path, score in scores.items() if Path(path).exists()}
    return {**state, **paths, "best_k_models": there, "dirpath": str(directory)}
