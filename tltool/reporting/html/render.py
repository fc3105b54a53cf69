"""Render a template of the package as a page that is one file, everything escaped."""

import functools
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from tltool._plain_text import plain_lines


class PictureOnPage(NamedTuple):
    """An image with its description.

    Attributes:
        uri: The image itself, as a data URI.
        description: What it shows, for those who cannot see it.
    """

    uri: str
    description: str


def render(template: str, **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: Its name, such as ``run.html.jinja``.
        values: What it shows; plain text is escaped.

    Raises:
        jinja2.UndefinedError: If it shows a value that is not given.
    """
    return _environment().get_template(template).render(values)


def readable(value: Any) -> Any:
    r"""Return text as a page may hold it; bytes of an odd file name and control codes are escaped.

    Example:
        >>> readable(chr(0x4B) + chr(0xDCE4) + "fer")
        'K\\xe4fer'
    """
    return plain_lines(value) if type(value) is str else value  # Markup, a str too, is ready.


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tltool.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
