"""The public names: each is there, under its short path, and known to type checkers."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from jsonargparse._util import get_import_path

import tltool


@pytest.mark.parametrize("name", tltool.__all__)
def test_a_public_name_is_shown_by_its_short_path(name):
    assert get_import_path(getattr(tltool, name)) == f"tltool.{name}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Heads"):
        tltool.Heads  # noqa: B018  # the access is the test


def test_the_wheel_brings_the_stub_that_names_them(tmp_path):
    builder = WheelBuilder(str(Path(__file__).parents[1]))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    assert {"tltool/__init__.pyi", "tltool/py.typed"} <= set(zipfile.ZipFile(wheel).namelist())
