"""Report as data, for the HTML page and W&B: verdict, sections, tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tltool.reporting.html.render import PictureOnPage, render
from tltool.reporting.run_verdict import Verdict
from tltool.reporting.tables import FactTable


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        title: Its heading.
        sentences: Text, one point each.
        table: Its table.
        pictures: What the HTML page shows; W&B draws panels of its own instead.
        note: Small print below.
        dashboard: Name of the W&B dashboard's section whose panels belong here.
        is_private: Whether it shows single images or their names, which are not sent to W&B.
    """

    title: str
    sentences: Sequence[str] = ()
    table: FactTable | None = None
    pictures: Sequence[PictureOnPage] = ()
    note: str = ""
    dashboard: Literal["", "result", "schedule", "health", "classes"] = ""
    is_private: bool = False


@dataclass(frozen=True)
class Report:
    """What runs achieved.

    Attributes:
        title: Names the runs.
        verdict: The answer, what it rests on, and what to do next.
        sections: The details, in the order of a reviewer's questions.
        warnings: What could not be found out and why, in sentences.
        table: The numbers behind the verdict.
    """

    title: str
    verdict: Verdict
    sections: Sequence[Section]
    warnings: Sequence[str] = ()
    table: FactTable | None = None


def render_report(report: Report, *, made_with: str) -> str:
    """Return a report as an HTML page that is one file.

    Args:
        report: The report.
        made_with: Versions and time.
    """
    return render("report.html.jinja", title=report.title, made_with=made_with, report=report)
