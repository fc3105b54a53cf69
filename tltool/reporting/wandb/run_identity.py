"""Which run on Weights & Biases a run's folder belongs to, so that a resumed one stays one run."""

import json
import os
import uuid
from pathlib import Path
from typing import NamedTuple

from tltool.whole_file import write_whole

NAME = "wandb_run.json"


class RunIdentity(NamedTuple):
    """A run on W&B.

    Attributes:
        id: Its id.
        step: W&B's own count of what was logged. Online, the server knows it; offline, only this.
        project: Where it was logged to; a sweep's agent knows, the configuration does not.
        entity: User or team that it was sent to; ``None`` offline, where nobody knows it yet.
    """

    id: str
    step: int = 0
    project: str | None = None
    entity: str | None = None


def find_identity(run_folder: Path) -> RunIdentity:
    """Return the identity that ``WANDB_RUN_ID`` gives, or that the folder keeps, or a new one."""
    kept = find_kept_identity(run_folder)
    given = os.environ.get("WANDB_RUN_ID")
    if given is not None and (kept is None or kept.id != given):
        return RunIdentity(given)
    return kept or RunIdentity(uuid.uuid4().hex[:12])


def find_kept_identity(run_folder: Path) -> RunIdentity | None:
    """Return the identity that the folder keeps, if it keeps one."""
    path = run_folder / NAME
    return RunIdentity(**json.loads(path.read_text("utf-8"))) if path.is_file() else None


def keep_identity(run_folder: Path, identity: RunIdentity) -> None:
    """Write the identity into the folder, whole or not at all."""
    run_folder.mkdir(parents=True, exist_ok=True)
    write_whole(run_folder / NAME, json.dumps(identity._asdict()) + "\n")
