import csv

import pytest
import torch

from tltool.evaluation.confusion import MANY_CLASSES
from tltool.evaluation.prediction_kind import PredictionKind
from tltool.inference.prediction_chunks import PredictionChunks
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


def labels_of(tmp_path, top_k=None):
    """Return the row of an image that may have several of three classes, read from a chunk."""
    kind = PredictionKind(3, "multi_label", thresholds=[0.5, 0.9, 0.2])
    names, shown = ["ants", "bees", "wasps"], num_shown_classes(top_k, 3, "multi_label")
    batch = rank_classes(["a.jpg"], torch.tensor([[0.5, 0.75, 0.25]]), shown, kind)
    chunks = PredictionChunks(tmp_path, ["a.jpg"], batch_size=1)
    chunks.write(0, [batch])
    columns = prediction_columns(names, labeled=False, num_shown=shown, objective="multi_label")
    return next(prediction_rows([chunks.read(0)], columns, names))


def test_several_classes_are_those_above_their_thresholds(tmp_path):
    row = labels_of(tmp_path)
    assert row["prediction"] == "ants;wasps"
    assert [row[f"probability:{name}"] for name in ("ants", "bees", "wasps")] == [0.5, 0.75, 0.25]


def test_several_classes_do_not_depend_on_how_many_are_shown(tmp_path):
    row = labels_of(tmp_path, top_k=1)
    assert (row["prediction"], row["top1"], row["probability1"]) == ("ants;wasps", "bees", 0.75)


def test_a_number_has_one_column_with_the_name_of_its_target():
    kind = PredictionKind(1, "regression")
    batch = rank_classes(["a.jpg"], torch.tensor([[12.5]]), None, kind)
    columns = prediction_columns(["age"], labeled=True, num_shown=None, objective="regression")
    (row,) = prediction_rows([batch], columns, ["age"], {"a.jpg": "11.0"})
    assert row == {"path": "a.jpg", "label": "11.0", "age": 12.5}
