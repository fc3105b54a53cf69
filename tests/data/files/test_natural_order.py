import itertools
import os
import subprocess
import sys

import pytest

from tltool.data.files.natural_order import look_alikes, sort_classes

NAMES = ["001", "01", "1", "1.0", "2", "10", "a1", "a01", "a2", "a10", "\u00e9", "e\u0301", "", "-"]


def test_the_order_is_total():
    orders = {tuple(sort_classes(names)) for names in itertools.permutations(NAMES[:6])}
    assert orders == {tuple(NAMES[:6])}


def test_the_order_does_not_depend_on_the_hash_seed():
    code = f"from tltool.data.files.natural_order import sort_classes as s; print(s(set({NAMES})))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert outputs == {f"{sort_classes(NAMES)}\n".encode()}


@pytest.mark.parametrize(
    "names",
    [
        ["0.25 mm", "0.5 mm", "10 mm"],
        ["2023-01-09", "2023-01-10", "2023-02-01"],
        ["-10", "-2", "0", "+3"],
        ["1", "2nd", "a", "a1", "b"],
        ["9" * 5000, "1" + "0" * 5000],
        ["Zebra", "ant"],
    ],
)
def test_numbers_are_compared_by_value_and_text_as_text(names):
    assert sort_classes(reversed(names)) == names


def test_names_that_differ_in_more_than_form_do_not_look_alike():
    assert look_alikes(["1", "-1", "10", "a 1", "a1", "class1", "class2"]) == []
