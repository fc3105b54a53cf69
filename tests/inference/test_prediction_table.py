import csv

import pytest
import torch

from tltool.evaluation.confusion import MANY_CLASSES
from tltool.inference.prediction_table import (
    num_shown_classes,
    prediction_columns,
    prediction_rows,
    rank_classes,
    write_prediction_table,
)


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table of one image and reads its row."""

    def make(probabilities, labels=None, top_k=None):
        names = [f"class {number}" for number in range(len(probabilities))]
        shown = num_shown_classes(top_k, len(names))
        batch = rank_classes(["a.jpg"], torch.tensor([probabilities]), shown)
        columns = prediction_columns(names, labeled=bool(labels), num_shown=shown)
        rows = prediction_rows([batch], columns, names, labels)
        write_prediction_table(tmp_path / "table.csv", columns, rows)
        return next(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))

    return make


def test_few_classes_have_a_column_each_in_their_order(table):
    row = table([0.25, 0.5, 0.25])
    assert list(row.values()) == ["a.jpg", "class 1", "0.25", "0.5", "0.25"]
    assert list(row)[2:] == [f"probability:class {number}" for number in range(3)]


def test_of_very_many_classes_the_most_probable_have_columns(table):
    row = table([n / 1e6 for n in range(MANY_CLASSES + 1)], labels={"a.jpg": "class 3"})
    assert list(row)[:5] == ["path", "label", "prediction", "top1", "probability1"]
    assert [row[f"top{n}"] for n in (1, 5)] == ["class 1000", "class 996"]
    assert (row["probability5"], row["prediction"], len(row)) == ("0.000996", "class 1000", 13)


def test_of_equal_probabilities_the_first_class_is_predicted(table):
    assert table([0.0] * (MANY_CLASSES + 1))["prediction"] == "class 0"
