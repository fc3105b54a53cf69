"""Weights & Biases by one line."""

import logging
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger

log = logging.getLogger(__name__)


def wandb_logger(
    run_folder: Path,
    *,
    project: str | None = None,
    entity: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    offline: bool | None = None,
) -> WandbLogger | None:
    """Return a Weights & Biases logger, or ``None`` without a project.

    Metrics and the configuration are sent; photos and checkpoints are not.

    Args:
        run_folder: Folder of the run; W&B keeps its files there.
        project: Project to log to; ``None`` turns W&B off.
        entity: User or team; ``None`` for the account's default.
        group: Runs with one group are shown together.
        tags: Labels to filter by.
        offline: Keep the run on this machine, to be sent later with ``wandb sync``; ``None`` does
            so where no account is set up.
    """
    if project is None:
        return None
    return WandbLogger(
        name=f"{run_folder.parent.name}/{run_folder.name}",
        save_dir=run_folder,
        project=project,
        resume="allow",
        entity=entity,
        group=group,
        tags=list(tags),
        # `offline=True` would leak WANDB_MODE=dryrun.
        mode=wandb_mode(run_folder, offline=offline),
    )


def wandb_mode(run_folder: Path, *, offline: bool | None) -> Literal["offline", "online"]:
    """Return whether to send a run, and warn where it is kept for want of an account."""
    if offline is None:
        offline = not _has_account()
        if offline:
            log.warning(
                "W&B: no account on this machine, the run is kept in %s (wandb sync sends it).",
                run_folder,
            )
    return "offline" if offline else "online"


def _has_account() -> bool:
    if os.environ.get("WANDB_MODE") in {"offline", "disabled", "dryrun"}:
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
