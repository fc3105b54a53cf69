"""What `tltool report --wandb` writes to Weights & Biases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.report import Report
from tltool.reporting.run_record import read_run
from tltool.reporting.wandb.account import connect
from tltool.reporting.wandb.logged_run import (
    LoggedRun,
    find_logged_run,
    sync_command,
    unsent,
    where_logged,
)
from tltool.reporting.wandb.saved_report import write_report
from tltool.reporting.wandb.trust_summary import write_trust_summary
from tltool.reporting.wandb.workspace import write_workspace


class Dashboard(NamedTuple):
    """Where to write: a server that answers, and the runs as it knows them."""

    api: Any
    runs: list[LoggedRun]


def open_dashboard(folders: Sequence[Path]) -> Dashboard:
    """Find the runs on the server, before anything takes time.

    Args:
        folders: Of the runs.

    Raises:
        ValueError: If a run was not logged, was not sent yet, or they are of several projects.
        PermissionError: If there is no account, or the server refuses it.
        ConnectionError: If no server answers.
    """
    configs = {folder: read_run(folder).config for folder in folders}
    for folder, config in configs.items():
        where_logged(folder, config)
    parts = [part for folder in folders for part in unsent(folder)]
    try:
        api = connect()
    except PermissionError as error:
        if not parts:
            raise
        raise PermissionError(f"{error}; then send what is kept: {sync_command(parts)}") from error
    runs = [find_logged_run(api, folder, config) for folder, config in configs.items()]
    places = dict.fromkeys(f"{run.entity}/{run.project}" for run in runs)
    if len(places) > 1:
        raise ValueError(
            f"The runs are of several W&B projects: {', '.join(places)}. Report those of one "
            "project together, or leave --wandb out."
        )
    if parts:  # Of a run that went on offline, unless a copy of the folder was sent.
        print(f"missing      Perhaps not everything was sent to W&B: {sync_command(parts)}")
    return Dashboard(api, runs)


def write_dashboard(dashboard: Dashboard, report: Report, measured: Sequence[MeasuredRun]) -> None:
    """Write the workspace, the report and what was measured, and print their addresses.

    Args:
        dashboard: Where to write.
        report: The report.
        measured: The runs, in their order there.
    """
    for run, each in zip(dashboard.runs, measured, strict=True):
        if each.evaluation is not None:
            write_trust_summary(dashboard.api, run, each.evaluation.trust_numbers)
    workspace = write_workspace(dashboard.runs)
    saved = write_report(dashboard.api, dashboard.runs, report)
    for name, written in (("workspace", workspace), ("report", saved)):
        print(f"{name:<12} {written.url} ({'new' if written.is_new else 'updated'})")
