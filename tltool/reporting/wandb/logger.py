"""Options of Weights & Biases, section `wandb` of a configuration, and the logger they make."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool.reporting.wandb.account import check_names, has_account
from tltool.reporting.wandb.run_identity import find_identity, keep_identity
from tltool.reporting.wandb.run_logger import RunLogger

log = logging.getLogger(__name__)

_OFFLINE = {"offline", "dryrun"}  # what W&B takes for it


def wandb_logger(
    run_dir: Path,
    *,
    project: str | None = None,
    entity: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    offline: bool | None = None,
    log_images: bool = False,
    log_checkpoints: bool = False,
) -> RunLogger | None:
    """Return a Weights & Biases logger, or ``None`` without a project or where W&B is disabled.

    Metrics and the configuration are sent; images and checkpoints are not, unless asked for. The
    run's id lies in its directory, so a run that is resumed there stays one run. A sweep's agent
    gives its own by ``WANDB_RUN_ID``, to the first seed of ``--seeds`` alone.

    Args:
        run_dir: The run directory; W&B keeps its files there.
        project: Project to log to; ``None`` turns W&B off, but in a sweep takes the sweep's.
        entity: User or team; ``None`` for the account's default.
        group: Runs with one group are shown together; ``None`` for the name of the run, which
            runs of the same data share, but in a sweep for none.
        job_type: What the run is in its group, such as ``baseline``; ``None`` for ``fit``.
        tags: Labels to filter by.
        offline: Keep the run on this machine, to be sent later with ``wandb sync``; ``None`` does
            as ``WANDB_MODE`` says (``disabled`` is no logger), else so where no account is set up.
        log_images: Send images too: the worst of the validation, and some training images as they
            are augmented.
        log_checkpoints: Send the best and the last checkpoint too. ``tltool fit`` does so when
            nothing changes them any more; with a Trainer of your own, call
            `tltool.reporting.wandb.run_logger.log_checkpoints` behind its ``fit``.

    Raises:
        ValueError: If W&B does not allow the names.
    """
    if project is None and "WANDB_SWEEP_ID" in os.environ:
        project = os.environ.get("WANDB_PROJECT")  # Set by the sweep's agent.
    if project is None:
        return None
    check_names(project, entity)
    if is_disabled(offline=offline):
        return None
    identity = None
    if getattr(rank_zero_only, "rank", 0) == 0:  # Only the first rank has a run.
        identity = find_identity(run_dir)
        keep_identity(run_dir, identity)
    return RunLogger(
        run_dir,
        identity=identity,
        project=project,
        entity=entity,
        group=group or (None if "WANDB_SWEEP_ID" in os.environ else run_dir.parent.name or None),
        job_type=job_type or "fit",
        tags=tags,
        mode=wandb_mode(run_dir, offline=offline),
        log_images=log_images,
        log_checkpoints=log_checkpoints,
    )


def is_disabled(*, offline: bool | None) -> bool:
    """Return whether ``WANDB_MODE`` turns W&B off, and say so; ``offline`` overrules it."""
    found = offline is None and os.environ.get("WANDB_MODE") == "disabled"
    if found:
        log.warning("W&B: WANDB_MODE is disabled, so nothing is logged there.")
    return found


def wandb_mode(run_dir: Path, *, offline: bool | None) -> Literal["offline", "online"]:
    """Return whether to send a run, and warn where it is kept though nobody asked for that."""
    if offline is None:
        mode = os.environ.get("WANDB_MODE")
        offline = mode in _OFFLINE or not has_account()
        if offline:
            log.warning(
                "W&B: %s, the run is kept in %s (wandb sync sends it).",
                f"WANDB_MODE is {mode}" if mode in _OFFLINE else "no account on this machine",
                run_dir,
            )
    return "offline" if offline else "online"
