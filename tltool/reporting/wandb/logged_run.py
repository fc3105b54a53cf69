"""A run as the W&B server knows it: where it is, and what it logged."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tltool._plain_text import shell_command
from tltool.reporting.wandb.account import readable_errors
from tltool.reporting.wandb.run_identity import NAME, RunIdentity, find_kept_identity

PanelKind = Literal["lines", "bars", "pictures", "table"]
PANEL_KINDS: tuple[PanelKind, ...] = get_args(PanelKind)
_MEDIA = {"image-file": "pictures", "images/separated": "pictures", "table-file": "table"}


@dataclass(frozen=True)
class LoggedRun:
    """A run on the server.

    Attributes:
        id: Its id.
        entity: User or team.
        project: The project.
        project_url: The address of the project.
        group: Its group, if it has one.
        facts: The flat part of its configuration, see `run_facts`.
        logged: The names of what it logged, by the panel that can show them: lines of numbers with
            a history and of measurements of the machine, such as ``system/cpu``; bars of numbers in
            the summary; pictures; tables.
    """

    id: str
    entity: str
    project: str
    project_url: str
    group: str | None
    facts: Mapping[str, Any]
    logged: Mapping[PanelKind, frozenset[str]]


def find_logged_run(api: Any, run_dir: Path, config: Mapping[str, Any]) -> LoggedRun:
    """Ask the server for the run of a run directory.

    Args:
        api: See `connect`.
        run_dir: The run directory.
        config: Its ``config.yaml``, for the project of runs that were kept offline.

    Raises:
        ValueError: If it was not logged to W&B, or the server does not have it.
        ConnectionError: If no server answers.
    """
    import wandb

    identity, project = where_logged(run_dir, config)
    entity = identity.entity or _option(config, "entity") or api.settings["entity"]
    with readable_errors():
        entity = entity or api.default_entity
        try:
            run = api.run(f"{entity}/{project}/{identity.id}")
        except wandb.errors.CommError as error:
            if not isinstance(error.exc, ValueError):
                raise
            raise ValueError(  # W&B's RunNotFoundError, wrapped.
                f"W&B has no run {identity.id!r} in {entity}/{project}. {_remedy(run_dir)}"
            ) from error
    kinds = {name: _kind(value) for name, value in run.summary_metrics.items()}
    history = (run.history_keys or {}).get("keys", kinds)
    # The server counts them apart from the rest; charts name them with a slash.
    system = {f"system/{name.partition('.')[2]}" for name in run.system_metrics}
    logged = {
        kind: frozenset(n for n, each in kinds.items() if each == kind) for kind in PANEL_KINDS
    }
    return LoggedRun(
        id=identity.id,
        entity=entity,
        project=project,
        project_url=run.url.rpartition("/runs/")[0],
        group=run.group or None,
        facts={key: value for key, value in run.config.items() if key != "config"},
        logged={**logged, "lines": logged["bars"] & history.keys() | system},
    )


def where_logged(run_dir: Path, config: Mapping[str, Any]) -> tuple[RunIdentity, str]:
    """Return which run a run directory holds, and its project.

    Raises:
        ValueError: If it was not logged to W&B.
    """
    identity = find_kept_identity(run_dir)
    project = identity and (identity.project or _option(config, "project"))
    if identity is None or project is None:
        raise ValueError(
            f"{str(run_dir)!r} was not logged to W&B: there is no {NAME} in it. Train with "
            "--wandb.project NAME, or leave --wandb out for the page alone."
        )
    return identity, project


def unsent(run_dir: Path) -> list[Path]:
    """Return the parts of a run that lie in its directory and were never sent."""
    parts = sorted((run_dir / "wandb").glob("offline-run-*"))
    return [part for part in parts if not list(part.glob("*.wandb.synced"))]


def sync_command(parts: list[Path]) -> str:
    """Return the command that sends parts of a run."""
    return shell_command("wandb", "sync", *parts)


def _remedy(run_dir: Path) -> str:
    if parts := unsent(run_dir):
        return f"It is kept on this machine only. Send it first: {sync_command(parts)}"
    return (
        "It was deleted there, or this account may not see it, or it was sent elsewhere. Log in "
        "to the account that sent it (wandb login --relogin), or leave --wandb out."
    )


def _option(config: Mapping[str, Any], name: str) -> str | None:
    value = (config.get("wandb") or {}).get(name)
    return None if value is None else str(value)


def _kind(value: Any) -> str:
    """Return which panel shows an entry of the summary; numbers with a best are mappings there."""
    if isinstance(value, Mapping):
        is_best = bool(value) and value.keys() <= {"max", "min", "last", "mean"}
        return "bars" if is_best else _MEDIA.get(str(value.get("_type")), "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # A diverged loss comes back as a word.
    return "bars" if is_number or value in ("NaN", "Infinity", "-Infinity") else ""
