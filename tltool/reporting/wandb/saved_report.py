"""Saved report about some runs on Weights & Biases."""

import re
from collections.abc import Sequence
from typing import Any

from tltool.reporting.markdown import markdown_table
from tltool.reporting.report import Report, Section
from tltool.reporting.tables import FactTable
from tltool.reporting.wandb.account import readable_errors, without_save_messages
from tltool.reporting.wandb.dashboard_sections import dashboard_sections
from tltool.reporting.wandb.logged_run import LoggedRun
from tltool.reporting.wandb.panels import make_panel
from tltool.reporting.wandb.workspace import SavedView

_LONGEST_TITLE = 128  # W&B's own limit.


def write_report(api: Any, runs: Sequence[LoggedRun], report: Report) -> SavedView:
    """Write the report about these runs, or write it anew.

    Some runs have one report, whoever calls this and from wherever, and in whichever order the
    runs are named: their ids stand in its description, by which it is found on the server. A new
    title or a moved directory does not matter; where it was deleted, it is made again, and so it is
    where its description was. What is written replaces what was there, comments excepted.

    The requests are tested against a recorder; how W&B draws what they ask for is not.

    Args:
        api: See `connect`.
        runs: Runs of one project, the first is what the others are compared with.
        report: What it says. Its pictures are left out, for panels of W&B show the same.

    Raises:
        PermissionError: If the account may not write to the project.
        ConnectionError: If no server answers.
    """
    import wandb_workspaces.reports.v2 as wr

    entity, project, title = runs[0].entity, runs[0].project, report.title
    mark = f"Runs: {' '.join(sorted(run.id for run in runs))}."
    with readable_errors():
        views = api.reports(f"{entity}/{project}")
        found = next((each for each in views if mark in (each.description or "")), None)
    saved = wr.Report(
        entity=entity,
        project=project,
        title=title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 3]}...",
        description=f"Written by tltool report --wandb, which writes it anew. {mark}",
        width="fixed",
    )
    if found is not None:
        saved.id = found.id
        # What people said there, and where.
        saved._discussion_threads = found.spec.get("discussionThreads", [])
    with readable_errors(), without_save_messages():
        saved.blocks = _blocks(report, runs)
        saved.save()
    name = f"{_slug(saved.title)}--{saved.id.rstrip('=')}"
    return SavedView(f"{runs[0].project_url}/reports/{name}", found is None)


def _blocks(report: Report, runs: Sequence[LoggedRun]) -> list[Any]:
    """Return the verdict, each section with the panels that belong to it, and all other panels."""
    import wandb_workspaces.reports.v2 as wr

    panels = {
        name: [make_panel(panel, runs, place) for place, panel in enumerate(each)]
        for name, each in dashboard_sections(runs).items()
    }
    verdict = report.verdict
    blocks = [
        wr.H2("Did it work, and how sure is that?"),
        wr.CalloutBlock(verdict.sentences[0]),
        *_text([*verdict.reasons, *report.warnings], report.table),
        wr.H2("What next?"),
        wr.UnorderedList([verdict.next_step]),
        wr.CodeBlock("\n".join(verdict.commands), language=None),
    ]
    others = [Section(f"Logged: {name}", dashboard=name) for name in panels]  # type: ignore[arg-type]
    for section in [*report.sections, *others]:
        content = [] if section.is_private else _text(section.sentences, section.table)
        if drawn := panels.pop(section.dashboard, []):
            content.append(_grid(runs, drawn))
        if content:
            blocks += [wr.H2(section.title), *content]
    if len(runs) > 1:
        comparer = wr.RunComparer(diff_only="split", layout=wr.Layout(w=24, h=12))
        blocks += [wr.H2("All that differs between the runs"), _grid(runs, [comparer])]
    return blocks


def _text(sentences: Sequence[str], table: FactTable | None) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    listed = [wr.UnorderedList(list(sentences))] if sentences else []
    return [*listed, *([wr.MarkdownBlock(markdown_table(table))] if table else [])]


def _grid(runs: Sequence[LoggedRun], panels: list[Any]) -> Any:
    """Return panels that show just these runs."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    runset = wr.Runset(
        entity=runs[0].entity,
        project=runs[0].project,
        name="runs of this report",
        filters=ws.And(ws.Metric("ID").isin([run.id for run in runs])),
    )
    return wr.PanelGrid(runsets=[runset], panels=panels)


def _slug(title: str) -> str:
    return "-".join(re.sub(r"[/?#]", "-", title).split())
