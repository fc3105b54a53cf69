"""Panels, filters and groups of runs, built with ``wandb_workspaces``."""

from collections.abc import Sequence
from typing import Any

from tltool.reporting.figures.palette import SPLITS, series_style
from tltool.reporting.wandb.dashboard_sections import Panel
from tltool.reporting.wandb.logged_run import LoggedRun

_STEPS = "trainer/global_step"
_WIDTH, _HEIGHT, _PER_ROW = 12, 8, 2  # of 24 columns in a report
# What tells runs apart, other than their seed; see `run_facts`.
_FACTS = (
    *("split", "backbone", "weights", "head", "activation", "norm", "initializer"),
    *("finetuning", "lr", "global_batch", "trainable_parameters"),
)


def make_panel(panel: Panel, runs: Sequence[LoggedRun], place: int = 0) -> Any:
    """Return a panel of a workspace or a report.

    Args:
        panel: What to show.
        runs: What it is about; splits are drawn in the style that they have in all pictures.
        place: Its number among the panels of a report's grid.
    """
    import wandb_workspaces.reports.v2 as wr

    row, column = divmod(place, _PER_ROW)
    layout = wr.Layout(x=column * _WIDTH, y=row * _HEIGHT, w=_WIDTH, h=_HEIGHT)
    names = list(panel.names)
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=names[0], layout=layout)
    if panel.kind == "pictures":
        return wr.MediaBrowser(title=panel.title, media_keys=names, layout=layout)
    if panel.kind == "bars":
        return wr.BarPlot(title=panel.title, metrics=names, layout=layout)
    is_machine = names[0].startswith("system/")  # Which is measured by time, not by step.
    return wr.LinePlot(
        title=panel.title,
        x="RelativeTime(Process)" if is_machine else _STEPS,
        y=names,
        log_y=panel.is_logarithmic or None,
        layout=layout,
        **_split_styles(panel, runs),
    )


def _split_styles(panel: Panel, runs: Sequence[LoggedRun]) -> dict[str, dict[str, str]]:
    """Return the style of each line that is of a split, as in `series_style`.

    Of several runs the color tells the run, and W&B chooses it.
    """
    splits = {name: SPLITS.get(name.partition("/")[0]) for name in panel.names}
    if len(splits) < 2:  # One line: nothing to tell apart.
        return {}
    styles = {name: series_style(each) for name, each in splits.items() if each is not None}
    lines = {f"{run.id}:{name}": style for run in runs for name, style in styles.items()}
    found = {"line_marks": {key: style["linestyle"] for key, style in lines.items()}}
    if len(runs) == 1:
        found["line_colors"] = {key: style["color"] for key, style in lines.items()}
    return found


def comparable_runs(runs: Sequence[LoggedRun]) -> Any:
    """Return a filter that lets through the runs of a project that these can be compared with.

    Those are runs on the same split of the images: on others, an accuracy is another number. If
    all of these runs have a group, other groups are left out too.
    """
    import wandb_workspaces.workspaces as ws

    splits = list(dict.fromkeys(run.facts.get("split") for run in runs))
    groups = list(dict.fromkeys(run.group for run in runs))
    known = [(ws.Config("split"), splits), (ws.Metric("Group"), groups)]
    filters = [column.isin(values) for column, values in known if None not in values]
    return ws.And(*filters) if filters else ""


def variants(runs: Sequence[LoggedRun]) -> list[str]:
    """Return the facts by which to group runs, so that lines are means over seeds alone.

    Runs are grouped only where two of them differ in no more than their seed; else a mean would
    hide a difference. Then the groups are what the runs differ in, or their strategy.

    Example:
        >>> run = dict.fromkeys(("id", "entity", "project", "project_url", "group"), "")
        >>> seeds = [LoggedRun(**run, logged={}, facts={"lr": lr, "seed": seed})
        ...          for lr in (0.1, 0.2) for seed in (0, 1)]
        >>> variants(seeds), variants(seeds[1:3])
        (['lr'], [])
    """
    values = {name: [str(run.facts.get(name)) for run in runs] for name in _FACTS}
    if len(set(zip(*values.values(), strict=True))) == len(runs):
        return []
    return [name for name, each in values.items() if len(set(each)) > 1] or ["finetuning"]
