"""The page of the experiments: one self-contained HTML file, for the screen and for paper."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.lecture.experiment import Experiment, Finding

_MARKS = {
    "holds": "\N{CHECK MARK}",
    "holds in part": "\N{ALMOST EQUAL TO}",
    "does not hold here": "\N{MULTIPLICATION X}",
    "cannot be told here": "?",
}

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 52rem; margin: 0 auto;
  padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 0 0 .3rem; }
section { border-top: 1px solid #bbb; padding: 1.2rem 0; break-inside: avoid; }
blockquote { margin: .3rem 0 .8rem; padding-left: .8rem; border-left: 3px solid #888; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0;
  border-top: 1px solid #ddd; }
.verdict { font-weight: 600; white-space: nowrap; }
.small { font-size: .85rem; color: #555; }
pre { font-size: .85rem; background: #f4f4f4; padding: .5rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
@media (max-width: 30rem) { .wide { display: none; } .verdict { white-space: normal; } }
@media print { body { max-width: none; font-size: 10.5pt; } a { color: inherit; } }
"""


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
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>The lecture, run: {_text(data)}</title><style>{_STYLE}</style></head><body>",
            "<h1>The lecture, run</h1>",
            "<p>What the lecture &ldquo;Training Neural Networks I&rdquo; (CS231n) claims, tried "
            f"on {_text(data)}. {held} of {len(entries)} claims hold as they are stated.</p>",
            f'<p class="small">{_text(made_with)}</p>',
            _summary(entries),
            *(_section(number, entry) for number, entry in enumerate(entries, start=1)),
            "</body></html>\n",
        ]
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _summary(entries: Sequence[Entry]) -> str:
    lines = [
        f'<tr><td><a href="#{entry.experiment.name()}">{_text(entry.experiment.title)}</a></td>'
        f'<td class="verdict">{_verdict(entry.finding)}</td>'
        f'<td class="wide">{_text(entry.finding.number)}</td></tr>'
        for entry in entries
    ]
    heading = '<tr><th>claim</th><th>verdict</th><th class="wide">what was measured</th></tr>'
    return f"<table>{heading}{''.join(lines)}</table>"


def _section(number: int, entry: Entry) -> str:
    experiment, finding = entry.experiment, entry.finding
    return f"""<section id="{experiment.name()}">
<h2>{number}. {_text(experiment.title)}</h2>
<blockquote>{_text(experiment.claim)}<br><span class="small">{_text(experiment.source)}</span>
</blockquote>
<p><span class="verdict">{_verdict(finding)}</span>: {_text(finding.number)}.</p>
<img src="{_picture(finding)}" alt="{_text(finding.number)}">
<p>{_text(finding.text)}</p>
<pre>{_text(entry.command)}</pre>
<p class="small">{entry.seconds:.0f} s</p>
</section>"""


def _verdict(finding: Finding) -> str:
    return f"{_MARKS[finding.verdict]} {finding.verdict}"


def _picture(finding: Finding) -> str:
    content = io.BytesIO()
    finding.figure.savefig(content, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _text(text: str) -> str:
    return html.escape(text, quote=True)
