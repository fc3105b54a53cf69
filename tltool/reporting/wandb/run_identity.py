"""Identity of a W&B run, kept in the run directory, so that a resumed run stays one run."""

import json
import os
import uuid
from pathlib import Path
from typing import NamedTuple

from tltool._atomic_write import write_whole

NAME = "wandb_run.json"


class RunIdentity(NamedTuple):
    """A run on W&B.

    Attributes:
        id: Its id.
        step: W&B's own count of what was logged, while a run goes on one ahead of it. Online, the
            server knows it; offline, only this.
        project: Where it was logged to; a sweep's agent knows, the configuration does not.
        entity: User or team that it was sent to; ``None`` offline, where nobody knows it yet.
    """

    id: str
    step: int = 0
    project: str | None = None
    entity: str | None = None


def find_identity(run_dir: Path) -> RunIdentity:
    """Return the identity by ``WANDB_RUN_ID``, or that of the run directory, or a new one."""
    kept = find_kept_identity(run_dir)
    given = os.environ.get("WANDB_RUN_ID")
    if given is not None and (kept is None or kept.id != given):
        return RunIdentity(given)
    return kept or RunIdentity(new_id())


def new_id() -> str:
    """Return an id that no run has."""
    return uuid.uuid4().hex[:12]


def find_kept_identity(run_dir: Path) -> RunIdentity | None:
    """Return the identity that the run directory keeps, if it keeps one.

    Raises:
        ValueError: If its file is damaged.
    """
    path = run_dir / NAME
    if not path.is_file():
        return None
    try:
        kept = dict(json.loads(path.read_text("utf-8")))
        return RunIdentity(**{key: kept[key] for key in RunIdentity._fields if key in kept})
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Delete it: the run goes on as a new one on W&B."
        ) from error


def keep_identity(run_dir: Path, identity: RunIdentity) -> None:
    """Write the identity into the run directory, whole or not at all."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_whole(run_dir / NAME, json.dumps(identity._asdict()) + "\n")
