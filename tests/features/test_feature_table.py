import importlib.util

import pyarrow.parquet
import pytest
import torch

from tltool.features import feature_table
from tltool.features.feature_table import FeatureSplit, write_features

FEATURES = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))


def split(count, first=0):
    rows = range(first, first + count)
    return FeatureSplit([f"{n}.jpg" for n in rows], ["ants", ""] * (count // 2), FEATURES[rows])


@pytest.fixture
def table(tmp_path, monkeypatch):
    """What is read of a file that was written in pieces of 3 rows."""
    monkeypatch.setattr(feature_table, "_ROWS", 3)
    path = tmp_path / "features.parquet"
    write_features(path, {"train": split(8), "val": split(2, 8)}, facts={"backbone": "vit"})
    return pyarrow.parquet.read_table(path)


def test_each_image_has_a_row(table):
    assert table["path"].to_pylist() == [f"{number}.jpg" for number in range(10)]
    assert table["split"].to_pylist() == ["train"] * 8 + ["val"] * 2


def test_features_are_a_list_of_fixed_size(table):
    assert str(table.schema.field("features").type).startswith("fixed_size_list<")
    assert torch.equal(torch.tensor(table["features"].to_pylist()), FEATURES)


def test_an_image_without_a_label_has_none(table):
    assert table["label"].to_pylist()[:2] == ["ants", None]


def test_the_file_says_which_network_it_is_of(table):
    assert table.schema.metadata[b"tltool"] == b'{"backbone": "vit"}'


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    broken = FeatureSplit(["a.jpg"], [3], torch.ones(1, 6))
    with pytest.raises(TypeError):
        write_features(tmp_path / "a.parquet", {"train": split(2), "val": broken})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": FeatureSplit(["a"], [], FEATURES[:1])}, "has 1 paths, 0 labels and 1 rows"),
        (
            {"a": split(2), "b": FeatureSplit(["c"], [""], torch.ones(1, 2))},
            r"of one width, got \[2, 6\]",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, splits, said):
    with pytest.raises(ValueError, match=said):
        write_features(tmp_path / "a.parquet", splits)


def test_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has to end in \.parquet"):
        write_features(tmp_path / "a.csv", {"train": split(2)})


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tltool\[parquet\]'"):
        write_features(tmp_path / "a.parquet", {"train": split(2)})
