"""The page of the experiments."""

import base64
import re

import pytest

from tltool.lecture.claim import Finding
from tltool.lecture.page import Entry, render_page
from tltool.lecture.saturation import Saturation
from tltool.reporting.figures.axes import draw_series, new_figure


@pytest.fixture
def entry():
    figure, (axes,) = new_figure()
    draw_series(axes, [1, 2], [[1.0, 2.0], [2.0, 3.0]], label="a <series>", number=0)
    finding = Finding("holds in part", "1 < 2", "So it is & remains.", figure, [{"x": 1}])
    return Entry(Saturation(), finding, "tltool compare --lecture Saturation", 3.2)


def test_the_page_needs_no_other_file(entry):
    page = render_page([entry], data="digits", made_with="torch")
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)


def test_text_is_escaped(entry):
    page = render_page([entry], data="<b>", made_with="torch")
    for text in ("&lt;b&gt;", "1 &lt; 2", "So it is &amp; remains."):
        assert text in page
    assert "<b>" not in page


def test_the_picture_is_a_drawing_with_its_data(entry):
    page = render_page([entry], data="digits", made_with="torch")
    content = re.search(r"data:image/svg\+xml;base64,([^\"]+)", page)[1]
    assert b"<svg" in base64.b64decode(content)


def test_claims_are_counted_as_they_are_stated(entry):
    assert "0 of 1 claims hold" in render_page([entry], data="digits", made_with="torch")
