"""Pieces of a page that is one file: for telephone, screen and paper, with and without color."""

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .2rem 0 .6rem; }
h2 { font-size: 1.25rem; margin: 0 0 .4rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
section { border-top: 1px solid #bbb; padding: 1.1rem 0; }
.answer { border: 2px solid #222; border-radius: .4rem; padding: .7rem .9rem; margin: .8rem 0; }
.answer p { margin: .3rem 0; }
.verdict { font-size: 1.15rem; font-weight: 600; }
.small { font-size: .85rem; color: #555; }
.warning { border-left: 4px solid #222; padding-left: .7rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .5rem .3rem 0;
  border-top: 1px solid #ddd; }
th { overflow-wrap: normal; }
td.number, th.number { text-align: right; padding-right: 1rem; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
table.matrix td, table.matrix th { padding: .3rem; border: 1px solid #bbb; }
pre { font-size: .85rem; background: #f2f2f2; padding: .5rem; margin: .3rem 0;
  white-space: pre-wrap; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: .8rem; align-items: start; }
figure { margin: 0; }
.wide img { width: 100%; height: auto; }
.pictures img { width: 100%; max-width: 34rem; height: auto; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr));
  gap: .8rem; padding: 0; list-style: none; }
.photos img { width: 100%; height: 8.5rem; object-fit: contain; background: #f2f2f2; }
.photos li { break-inside: avoid; font-size: .85rem; line-height: 1.35; }
@media (max-width: 40rem) {
  table.stack tr { display: block; padding: .4rem 0; border-top: 1px solid #bbb; }
  table.stack tr.head { display: none; }
  table.stack td { display: block; border: 0; padding: .05rem 0; text-align: left;
    white-space: normal; }
  table.stack td[data-label]::before { content: attr(data-label) ": "; color: #555; }
}
@page { margin: 15mm; }
@media print {
  body { max-width: none; font-size: 10pt; padding: 0; }
  a { color: inherit; text-decoration: none; }
  h2, h3 { break-after: avoid; }
  tr, .answer, .pictures img, figure { break-inside: avoid; }
  .shade { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def page(title: str, body: Sequence[str], *, made_with: str) -> str:
    """Return a whole page.

    Args:
        title: Its heading, as plain text.
        body: Its parts, as HTML.
        made_with: Versions and time, as plain text.
    """
    # Scripts and anything from elsewhere are forbidden, whatever a name of a class may hold.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{text(title)}</h1>",
            *body,
            f'<p class="small">{text(made_with)}</p>',
            "</body></html>\n",
        ]
    )


def text(value: object) -> str:
    """Return plain text as HTML.

    A file name that is no UTF-8 is shown with its bytes escaped.

    Example:
        >>> text("<b> & 'c'")
        '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    readable = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return html.escape(readable, quote=True)


def paragraph(content: str, css: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{css}">{text(content)}</p>' if css else f"<p>{text(content)}</p>"


def section(title: str, *parts: str) -> str:
    """Return a section of HTML parts below a heading of plain text."""
    return "\n".join([f"<section><h2>{text(title)}</h2>", *parts, "</section>"])


def command(line: str) -> str:
    """Return a command to copy."""
    return f"<pre>{text(line)}</pre>"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    stacks: bool = True,
) -> str:
    """Return a table.

    Args:
        header: Names of the columns.
        rows: Cells as plain text.
        numbers: Columns that are aligned as numbers.
        stacks: On a narrow screen rows become blocks, each cell behind its column's name.
    """

    def css(column: int) -> str:
        return ' class="number"' if column in numbers else ""

    def label(name: str) -> str:
        return f' data-label="{text(name)}"' if stacks and name else ""

    head = "".join(f"<th{css(i)}>{text(name)}</th>" for i, name in enumerate(header))
    lines = [
        "<tr>"
        + "".join(f"<td{css(i)}{label(header[i])}>{text(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    ]
    css_class = ' class="stack"' if stacks else ""
    return f'<table{css_class}><tr class="head">{head}</tr>{"".join(lines)}</table>'


def pictures(*images: str) -> str:
    """Return images beside each other, below each other where there is no room."""
    return f'<div class="pictures">{"".join(images)}</div>'


def picture(figure: "Figure", description: str) -> str:
    """Return a figure as an image inside the page.

    Args:
        figure: The figure.
        description: What it shows, for those who cannot see it.
    """
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return f'<img src="{data_uri(content.getvalue(), "svg+xml")}" alt="{text(description)}">'


def wide_picture(figure: "Figure", description: str) -> str:
    """Return a figure as wide as the page; see `picture`."""
    return f'<figure class="wide">{picture(figure, description)}</figure>'


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as an address that holds it.

    Example:
        >>> data_uri(b"GIF", "gif")
        'data:image/gif;base64,R0lG'
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
