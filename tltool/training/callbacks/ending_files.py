"""Files of a run's end: the weights that compete, ``best.ckpt`` with the chosen, ``ending.csv``."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from tltool._atomic_write import whole_file
from tltool._csv_rows import write_rows
from tltool.models.weight_averaging import differing_tensors
from tltool.models.weights.state_dict_choice import CURRENT
from tltool.training.calibration import CALIBRATION, TRUST
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.checkpoint_io import TASK, AtomicCheckpointIO, read_checkpoint
from tltool.training.image_task import ImageTask
from tltool.training.weight_blends import BEST, LAST, START, MeasuredBlend

log = logging.getLogger(__name__)

KEPT = "best_epoch.ckpt"
"""The best epoch's checkpoint, where other weights have taken the place of ``best.ckpt``."""
TABLE = "ending.csv"
ENDING = "ending"  # The key under which a checkpoint says what its weights are.


def last_epoch(*, ends_on_validation: bool) -> dict[str, Any]:
    """Return what ``best.ckpt`` says of its weights where the last epoch has taken its place.

    Of a run that asked for it and has not come to its end, ``best.ckpt`` is still the best epoch.

    Args:
        ends_on_validation: Whether the validation images chose when training, or a phase, ended.
    """
    return {"candidate": LAST, "choose": "last", "ends_on_validation": ends_on_validation}


def holds_last_epoch(ending: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint is the last epoch in the place of the best one.

    Args:
        ending: What it says under `ENDING`; empty for an epoch.

    Example:
        >>> holds_last_epoch({}), holds_last_epoch(last_epoch(ends_on_validation=False))
        (False, True)
    """
    choose: str = ending.get("choose", "best")
    return choose == "last"


def is_unchosen(ending: Mapping[str, Any]) -> bool:
    """Tell whether validation chose neither the weights of ``best.ckpt`` nor when training ended.

    Args:
        ending: See `holds_last_epoch`.
    """
    return holds_last_epoch(ending) and not ending["ends_on_validation"]


def is_left_by_training(checkpoint: Mapping[str, Any]) -> bool:
    """Tell whether training has left a checkpoint as it is, and not a choice among candidates."""
    return ENDING not in checkpoint or holds_last_epoch(checkpoint[ENDING])


def write_candidates(
    path: Path, measured: Sequence[MeasuredBlend], chosen: MeasuredBlend, monitor: str
) -> None:
    """Write a table with a row for each candidate, whole or not at all."""
    known = measured[0].candidate.metrics
    metrics = [
        name for name in dict.fromkeys(["val/loss", "val/accuracy", monitor]) if name in known
    ]
    measures = [name.removeprefix("val/") for name in metrics]
    columns = ["candidate", "share", "statistics", *measures, "chosen"]
    rows = []
    for each in measured:
        found = each.candidate
        values = {key: repr(found.metrics[n]) for key, n in zip(measures, metrics, strict=True)}
        share = "" if found.share is None else found.share
        is_chosen = "yes" if each is chosen else "no"
        what = {"candidate": found.name, "share": share, "statistics": found.statistics}
        rows.append({**what, **values, "chosen": is_chosen})
    write_rows(path, columns, rows)


def saved_checkpoints(trainer: Trainer) -> list[Path]:
    """Return the checkpoints that the Trainer's callbacks keep by a metric."""
    callbacks = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    paths = [
        Path(path)
        for each in callbacks
        if each.monitor is not None and not isinstance(each, BestCheckpoint)
        for path in each.best_k_models
    ]
    return [path for path in paths if path.is_file()]


def replace_best(
    directory: Path, best: BestCheckpoint, chosen: MeasuredBlend, task: ImageTask
) -> None:
    """Write other weights to ``best.ckpt``, and keep the checkpoint that it was.

    What an earlier end of the run has fitted to those weights is left out.
    """
    path = directory / "best.ckpt"
    checkpoint = read_checkpoint(path)
    _keep_best_epoch(path)
    for key in (CALIBRATION, TRUST):
        checkpoint.pop(key, None)
    checkpoint[TASK] = task.task_config  # Without thresholds, unless they were given.
    checkpoint["state_dict"] |= chosen.weights
    checkpoint["callbacks"] = {**checkpoint.get("callbacks", {}), best.state_key: best.state_dict()}
    candidate = chosen.candidate
    checkpoint[ENDING] = {"candidate": str(candidate), **candidate.metrics}
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def keep_last(trainer: Trainer, best: BestCheckpoint, *, is_measured: bool) -> None:
    """Write the last epoch to ``best.ckpt``, and keep the best one beside it; on all ranks.

    Args:
        trainer: Its Trainer.
        best: It learns the score; ``None`` where that is not known.
        is_measured: Whether these weights were validated: else the Trainer's metrics are of others.
    """
    path = Path(str(best.dirpath)) / "best.ckpt"
    if best.monitor not in trainer.callback_metrics:
        return
    best.best_model_score = None
    if is_measured:
        score = trainer.callback_metrics[best.monitor].detach().cpu()
        best.best_model_score = score
        best.best_k_models[best.best_model_path] = score
    if trainer.is_global_zero:
        _keep_best_epoch(path)
    trainer.save_checkpoint(path, weights_only=False)
    if trainer.is_global_zero:
        _take_trained_network(path)


def _take_trained_network(path: Path) -> None:
    """Give a checkpoint the network that trains, which an average has replaced by now.

    Args:
        path: ``best.ckpt``, of the last epoch; ``last.ckpt`` beside it knows the network.
    """
    last = path.with_name("last.ckpt")
    if CURRENT not in read_checkpoint(path, map_location="meta") or not last.is_file():
        return
    checkpoint, trained = read_checkpoint(path), read_checkpoint(last)
    if trained["global_step"] == checkpoint["global_step"]:
        checkpoint[CURRENT] = trained[CURRENT]
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def keep_last_of_ended(best: BestCheckpoint, *, ends_on_validation: bool) -> bool:
    """Write ``last.ckpt`` of a run that is over to ``best.ckpt``, and tell whether it was missing.

    A kill may have come between the two, so that ``best.ckpt`` is the newer one, and stays. It is
    marked as the last epoch then too. The score becomes that of ``best.ckpt``: ``None`` where other
    weights take its place, for nothing has measured them here.

    Args:
        best: It learns the score.
        ends_on_validation: See `last_epoch`.
    """
    path = Path(str(best.dirpath)) / "best.ckpt"
    last = path.with_name("last.ckpt")
    if not (path.is_file() and last.is_file()):
        return False
    kept, checkpoint = read_checkpoint(path), read_checkpoint(last)
    if not is_left_by_training(kept):
        best.best_model_score = best.state_in(kept).get("best_model_score")
        chosen = kept[ENDING]["candidate"]
        message = "Ending: best.ckpt holds %s, chosen before, which stays; the last epoch is %s."
        log.warning(message, chosen, last.name)
        return False
    is_missing: bool = kept["global_step"] < checkpoint["global_step"]
    if is_missing:
        best.best_model_score = None
        checkpoint["callbacks"] = {**checkpoint["callbacks"], best.state_key: best.state_dict()}
    else:
        best.best_model_score = best.state_in(kept).get("best_model_score")
        checkpoint = kept
    if is_missing or ENDING not in kept:
        if is_missing or not path.with_name(KEPT).is_file():
            _keep_best_epoch(path)
        checkpoint[ENDING] = last_epoch(ends_on_validation=ends_on_validation)
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return is_missing


def _keep_best_epoch(path: Path) -> None:
    with whole_file(path.with_name(KEPT)) as partial:
        shutil.copyfile(path, partial)


def has_come_to_end(directory: Path) -> bool:
    """Tell whether a run has come to its end: to the table, or at least to the chosen weights.

    Args:
        directory: Where its checkpoints lie.
    """
    best = directory / "best.ckpt"
    if (directory.parent / TABLE).is_file():
        return True
    return best.is_file() and not is_left_by_training(read_checkpoint(best, map_location="meta"))


def undo_ending(directory: Path, *, keeps_best: bool) -> None:
    """Forget an earlier end of a run that goes on.

    Args:
        directory: Where its checkpoints lie.
        keeps_best: Leave ``best.ckpt`` as it is; else it is the best epoch again, as ``last.ckpt``
            knows it.
    """
    kept = directory / KEPT
    if keeps_best:
        kept.unlink(missing_ok=True)
    elif kept.is_file():
        kept.replace(directory / "best.ckpt")
    (directory.parent / TABLE).unlink(missing_ok=True)


def competing_states(
    directory: Path,
    task: nn.Module,
    start: Mapping[str, Tensor] | None,
    paths: Sequence[Path],
) -> dict[str, dict[str, Tensor]]:
    """Return what differs between the weights that compete, by name, each once.

    Args:
        directory: Where the checkpoints lie, among them ``best.ckpt``.
        task: The task as training has left it.
        start: The start, if it takes part.
        paths: Further checkpoints.
    """
    states = {BEST: read_checkpoint(directory / "best.ckpt")["state_dict"]}
    # Copies, for candidates will be loaded into the task.
    states[LAST] = {name: tensor.cpu().clone() for name, tensor in task.state_dict().items()}
    for path in paths:
        states.setdefault(path.stem, read_checkpoint(path)["state_dict"])
    if start is not None:
        states[START] = {**states[BEST], **start}
    changed = differing_tensors(list(states.values()))
    kept: dict[str, dict[str, Tensor]] = {}
    for name, state in states.items():
        own = {key: state[key] for key in changed}
        if name == START or all(differing_tensors([own, other]) for other in kept.values()):
            kept[name] = own
    return kept


def describe_choice(
    chosen: MeasuredBlend,
    measured: Sequence[MeasuredBlend],
    monitor: str,
) -> str:
    """Return the choice in words, beside the networks that were trained."""
    others = ", ".join(
        f"{each.candidate} {each.candidate.metrics[monitor]:.4f}"
        for each in measured
        if each is not chosen and not each.blend.is_average
    )
    return (
        f"Ending: best.ckpt holds {chosen.candidate}, {monitor} "
        f"{chosen.candidate.metrics[monitor]:.4f} ({others}; all {len(measured)} in {TABLE})."
    )
