"""Saved workspace of a project on Weights & Biases."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tltool.reporting.wandb.account import readable_errors, without_save_messages
from tltool.reporting.wandb.dashboard_sections import dashboard_sections
from tltool.reporting.wandb.logged_run import LoggedRun
from tltool.reporting.wandb.panels import comparable_runs, make_panel, variants

TITLE = "tltool"
KEY = "tltoolviews"  # As long as those that W&B makes; in the address behind `?nw=`.
_COLUMNS = (
    *("summary:best/accuracy", "summary:gain_over_probe", "summary:gain_over_probe_se"),
    *("config:finetuning.value", "config:backbone.value", "config:head.value"),
    *("config:lr.value", "config:seed.value"),
)
_MOST_PINNED = 20  # W&B's own limit.


class SavedView(NamedTuple):
    """A workspace or report that was saved.

    Attributes:
        url: Its address.
        is_new: Whether there was none before.
    """

    url: str
    is_new: bool


def write_workspace(runs: Sequence[LoggedRun]) -> SavedView:
    """Write the workspace of the project that the runs belong to, or write it anew.

    A project has one, whoever calls this and from wherever: it is known to the server by a name of
    its own, which renaming its title does not change. Where it was deleted, it is made again. What
    is written replaces the sections that were there; to keep changes, save them as another view.

    It shows the runs that these can be compared with, see `comparable_runs`; these are pinned, and
    of several, the first is what the others are compared with. The requests are tested against a
    recorder; how W&B draws what they ask for is not.

    Args:
        runs: Runs of one project.

    Raises:
        PermissionError: If the account may not write to the project.
        ConnectionError: If no server answers.
    """
    import wandb_workspaces.workspaces as ws

    entity, project, url = runs[0].entity, runs[0].project, f"{runs[0].project_url}?nw={KEY}"
    found = _saved_workspace(runs[0])
    workspace = found or ws.Workspace(entity=entity, project=project, name=TITLE)
    if found is None:
        workspace._internal_name = f"nw-{KEY}-v"  # the library says to set it
    workspace.sections = [
        # Each open one loads its curves.
        ws.Section(
            name=name, panels=[make_panel(panel, runs) for panel in panels], is_open=number < 3
        )
        for number, (name, panels) in enumerate(dashboard_sections(runs).items())
    ]
    workspace.settings = ws.WorkspaceSettings(x_axis="trainer/global_step", max_runs=20)
    workspace.runset_settings = ws.RunsetSettings(
        filters=comparable_runs(runs),
        groupby=[ws.Config(name) for name in variants(runs)],
        order=[ws.Ordering(ws.Summary("best/accuracy"), ascending=False)],
        pinned_columns=list(_COLUMNS),
        baseline_run=runs[0].id if len(runs) > 1 else None,
        pinned_runs=[run.id for run in runs[:_MOST_PINNED]],
    )
    with readable_errors(), without_save_messages():
        workspace.save()
    return SavedView(url, found is None)


def _saved_workspace(run: LoggedRun) -> Any:
    """Return the workspace as it is on the server, or ``None``."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.workspaces.errors import SpecVersionError

    # Of the address, the library reads its path and the key; an app may lie below another path.
    address = f"https://wandb.ai/{run.entity}/{run.project}?nw={KEY}"
    try:
        with readable_errors():
            return ws.Workspace.from_url(address)
    except SpecVersionError as error:
        raise ValueError(
            f"The workspace {TITLE!r} was saved by another version of W&B: {error} Update "
            "wandb-workspaces, or delete it on W&B and run this again."
        ) from error
    except ValueError as error:
        if "not found in project" not in str(error):
            raise
        return None
