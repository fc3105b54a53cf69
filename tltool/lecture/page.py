"""The page of the experiments: one self-contained HTML file, for the screen and for paper."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.lecture.claim import Claim, Finding
from tltool.reporting.html.images import picture
from tltool.reporting.html.render import render
from tltool.reporting.tables import FactTable

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

    experiment: Claim
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
    rows = [(e.experiment.title, _verdict(e.finding), e.finding.number) for e in entries]
    shown = [
        {
            **vars(entry),
            "verdict": _verdict(entry.finding),
            "picture": picture(entry.finding.figure, entry.finding.number),
        }
        for entry in entries
    ]
    return render(
        "lecture.html.jinja",
        title="The lecture, run",
        made_with=made_with,
        introduction=introduction,
        summary=FactTable(("claim", "verdict", "what was measured"), rows),
        entries=shown,
    )


def _verdict(finding: Finding) -> str:
    return f"{_MARKS[finding.verdict]} {finding.verdict}"
