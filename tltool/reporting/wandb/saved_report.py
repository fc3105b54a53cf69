"""Saved report about some runs on Weights & Biases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tltool.reporting.wandb.account import told_plainly, without_addresses
from tltool.reporting.wandb.dashboard_sections import dashboard_sections
from tltool.reporting.wandb.logged_run import LoggedRun
from tltool.reporting.wandb.panels import make_panel
from tltool.reporting.wandb.workspace import SavedView

_LONGEST_TITLE = 128  # W&B's own limit.


@dataclass(frozen=True)
class Chapter:
    """A part of a report, in plain text.

    Attributes:
        title: Its heading.
        answer: What stands out above the rest.
        sentences: Text, one point each.
        commands: What to type.
        columns: Header of the table.
        rows: Rows of the table.
        sections: Names of the dashboard's sections whose panels are shown.
        compares: Whether to show a table of what differs between the runs.
    """

    title: str
    answer: str = ""
    sentences: Sequence[str] = ()
    commands: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    sections: Sequence[str] = ()
    compares: bool = False


def write_report(
    api: Any, runs: Sequence[LoggedRun], title: str, chapters: Sequence[Chapter]
) -> SavedView:
    """Write the report about these runs, or write it anew.

    Some runs have one report, whoever calls this and from wherever, and in whichever order the
    runs are named: their ids stand in its description, by which it is found on the server. A new
    title or a moved directory does not matter; where it was deleted, it is made again, and so it is
    where its description was. What is written replaces what was there, comments excepted.

    The requests are tested against a recorder; how W&B draws what they ask for is not.

    Args:
        api: See `connect`.
        runs: Runs of one project, the first is what the others are compared with.
        title: Of the report.
        chapters: Its text, the most important first.

    Raises:
        PermissionError: If the account may not write to the project.
        ConnectionError: If no server answers.
    """
    import wandb_workspaces.reports.v2 as wr

    entity, project = runs[0].entity, runs[0].project
    mark = f"Runs: {' '.join(sorted(run.id for run in runs))}."
    with told_plainly():
        saved = api.reports(f"{entity}/{project}")
        found = next((each for each in saved if mark in (each.description or "")), None)
    report = wr.Report(
        entity=entity,
        project=project,
        title=title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 3]}...",
        description=f"Written by tltool report --wandb, which writes it anew. {mark}",
        width="fixed",
    )
    if found is not None:
        report.id = found.id
        # What people said there, and where.
        report._discussion_threads = found.spec.get("discussionThreads", [])
    with told_plainly(), without_addresses():
        report.blocks = [block for chapter in chapters for block in _blocks(chapter, runs)]
        report.save()
    name = f"{_slug(report.title)}--{report.id.rstrip('=')}"
    return SavedView(f"{runs[0].project_url}/reports/{name}", found is None)


def _blocks(chapter: Chapter, runs: Sequence[LoggedRun]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = []
    if chapter.answer:
        blocks.append(wr.CalloutBlock(chapter.answer))
    if chapter.sentences:
        blocks.append(wr.UnorderedList(list(chapter.sentences)))
    if chapter.commands:
        blocks.append(wr.CodeBlock("\n".join(chapter.commands), language=None))
    if chapter.rows:
        blocks.append(wr.MarkdownBlock(markdown_table(chapter.columns, chapter.rows)))
    panels = [
        panel
        for section in dashboard_sections(runs)
        if section.name in chapter.sections
        for panel in section.panels
    ]
    drawn = [make_panel(panel, place) for place, panel in enumerate(panels)]
    if chapter.compares:
        drawn.append(wr.RunComparer(diff_only="split", layout=wr.Layout(w=24, h=12)))
    if drawn:
        blocks.append(wr.PanelGrid(runsets=[_run_set(runs)], panels=drawn))
    return [wr.H2(chapter.title), *blocks] if blocks else []


def _run_set(runs: Sequence[LoggedRun]) -> Any:
    """Return just these runs."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    return wr.Runset(
        entity=runs[0].entity,
        project=runs[0].project,
        name="runs of this report",
        filters=ws.And(ws.Metric("ID").isin([run.id for run in runs])),
    )


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    r"""Return a table in Markdown, with what would end a cell or begin HTML escaped.

    Example:
        >>> print(markdown_table(["class", "p"], [["a|b", "< 0.001"]]))
        | class | p |
        | --- | --- |
        | a\|b | &lt; 0.001 |
    """
    lines = [list(columns), ["---"] * len(columns), *([_cell(c) for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(text.split())


def _slug(title: str) -> str:
    return "-".join(title.split()).replace("/", "-").replace("?", "-").replace("#", "-")
