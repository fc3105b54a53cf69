"""The page of the experiments: one self-contained HTML file, for the screen and for paper."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.lecture.experiment import Experiment, Finding
from tltool.reporting import html

_MARKS = {
    "holds": "\N{CHECK MARK}",
    "holds in part": "\N{ALMOST EQUAL TO}",
    "does not hold here": "\N{MULTIPLICATION X}",
    "cannot be told here": "?",
}


@dataclass(frozen=True)
class Entry:
    """An experiment on the page.

    Args:
        experiment: What was tried.
        finding: What was found.
        command: The command line that repeats it.
        seconds: How long it took.
    """

    experiment: Experiment
    finding: Finding
    command: str
    seconds: float


def render_page(entries: Sequence[Entry], *, data: str, made_with: str) -> str:
    """Return the page as HTML.

    Args:
        entries: The experiments, in the order of the page.
        data: What they were run on.
        made_with: Versions and device.
    """
    held = sum(entry.finding.verdict == "holds" for entry in entries)
    introduction = (
        'What the lecture "Training Neural Networks I" (CS231n) claims, tried on '
        f"{data}. {held} of {len(entries)} claims hold as they are stated."
    )
    summary = html.table(
        ["claim", "verdict", "what was measured"],
        [(e.experiment.title, _verdict(e.finding), e.finding.number) for e in entries],
    )
    sections = [_section(number, entry) for number, entry in enumerate(entries, start=1)]
    body = [html.paragraph(introduction), summary, *sections]
    return html.page("The lecture, run", body, made_with=made_with)


def _section(number: int, entry: Entry) -> str:
    experiment, finding = entry.experiment, entry.finding
    return html.section(
        f"{number}. {experiment.title}",
        html.paragraph(experiment.claim),
        html.paragraph(experiment.source, "small"),
        html.paragraph(_verdict(finding), "verdict"),
        html.paragraph(f"{finding.number}."),
        html.wide_picture(finding.figure, finding.number),
        html.paragraph(finding.text),
        html.command(entry.command),
        html.paragraph(f"{entry.seconds:.0f} s", "small"),
    )


def _verdict(finding: Finding) -> str:
    return f"{_MARKS[finding.verdict]} {finding.verdict}"
