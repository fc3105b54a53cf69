"""`tltool features` from the command line."""

import os

import pyarrow.parquet
import pytest

from tltool.features.directory_lock import lock_directory
from tltool.features.segments import segment_paths

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def features(cache, run_tltool):
    """Run an action in an empty folder and return its exit status, output and errors."""
    return lambda *args: run_tltool("features", *args)


@pytest.fixture
def compute(features, images):
    """Compute or verify the features of 24 images."""

    def run(*args, action="compute", root=images):
        return features(action, "--data.root", root, *SMALL, *args)

    return run


@pytest.fixture
def folder(compute, cache):
    """The folder of computed features."""
    compute()
    (facts,) = cache.glob("*/fingerprint.json")
    return facts.parent


def test_features_of_all_parts_are_computed_once(compute):
    status, out, err = compute()
    assert status == 0
    assert "train     20 images, 20 rows computed" in out
    assert "val       4 images, 4 rows computed" in out
    assert "20 rows to compute, at most 8.0 kB" in err
    assert "train     20 images, 0 rows computed" in compute()[1]


def test_views_are_augmented(compute):
    _, out, _ = compute("--data.augmentation", "flip", "--num_views", 2)
    assert "train     20 images in 2 views, 40 rows computed" in out


@pytest.mark.parametrize("words", [["2"], ["-1", "--data.augmentation", "flip"]])
def test_views_that_cannot_be_are_refused(compute, words):
    status, _, err = compute("--num_views", *words)
    assert (status, "above 0 only with augmentation" in err) == (1, True)


def test_the_list_says_what_there_is(features, folder):
    status, out, _ = features("list")
    assert status == 0
    assert folder.name[:8] in out
    assert "test_resnet" in out


def test_an_empty_list_says_what_to_type(features):
    assert "tltool features compute --data.root images" in features("list")[1]


def test_good_features_are_verified(compute, folder):
    status, out, _ = compute(action="verify")
    assert status == 0
    assert "20 images hashed, 0 without features; 16 rows computed again" in out


def test_a_flipped_bit_is_found_and_computed_again(compute, folder):
    path = segment_paths(folder)[0]
    content = bytearray(path.read_bytes())
    content[1000] ^= 64
    path.write_bytes(content)
    status, out, _ = compute(action="verify")
    assert status == 1
    assert "its features are not those written" in out
    assert not path.exists()
    compute()
    assert compute(action="verify")[0] == 0


def test_features_are_deleted_by_the_beginning_of_their_name(features, folder):
    status, out, _ = features("prune", folder.name[:4])
    assert (status, folder.exists()) == (0, False)
    assert f"deleted   {folder.name[:8]}" in out


def test_features_that_were_not_used_for_long_are_deleted(features, folder):
    os.utime(folder / "fingerprint.json", (0, 0))
    features("prune", "--older_than", 30)
    assert not folder.exists()


@pytest.fixture(params=['{"backbone": {"na', "[]", '{"a": 1}'])
def damaged(request, folder):
    """The folder of features whose facts cannot be read."""
    (folder / "fingerprint.json").write_text(request.param)
    return folder


def test_features_whose_facts_are_damaged_are_listed(features, damaged, caplog):
    status, out, _ = features("list")
    assert status == 0
    assert (damaged.name[:8] in out, "unknown" in out) == (True, True)
    assert (
        "fingerprint.json' is damaged, so what its features are of is unknown. They" in caplog.text
    )


def test_features_whose_facts_are_damaged_are_deleted(features, damaged):
    status, *_ = features("prune", damaged.name[:8])
    assert (status, damaged.exists()) == (0, False)


def test_what_a_killed_prune_has_left_is_deleted_by_the_next_one(features, cache):
    (cache / ".0123.removed").mkdir(parents=True)
    status, *_ = features("prune", "--max_size", 5)
    assert (status, list(cache.iterdir())) == (0, [])


def test_features_in_use_are_left(features, folder):
    with lock_directory(folder):
        status, out, _ = features("prune", "--all")
    assert (status, folder.exists()) == (1, True)
    assert "is in use by another process" in out


def test_deleting_nothing_in_particular_is_refused(features, folder):
    status, _, err = features("prune")
    assert status == 1
    assert "--older_than DAYS" in err


@pytest.mark.parametrize("option", ["--older_than", "--max_size"])
def test_a_limit_below_zero_deletes_nothing(features, folder, option):
    status, _, err = features("prune", option, "-1")
    assert (status, folder.exists()) == (1, True)
    assert f"{option} must be at least 0, got -1; --all deletes everything." in err


def test_an_unknown_name_is_refused_with_those_that_there_are(features, folder):
    _, _, err = features("prune", "nothing")
    assert f"Choose one of: {folder.name[:8]}." in err


def test_packed_features_are_one_file_and_the_same(features, compute, folder):
    assert len(segment_paths(folder)) == 2
    assert features("pack")[0] == 0
    assert len(segment_paths(folder)) == 1
    assert "20 images, 0 rows computed" in compute()[1]
    assert compute(action="verify")[0] == 0


def test_an_unknown_action_is_refused_with_the_nearest(features):
    assert "Did you mean 'compute'?" in features("computed")[2]
    assert "verify" in features()[1]


def test_features_are_written_as_a_table(compute, tmp_path):
    path = tmp_path / "features.parquet"
    status, out, _ = compute("--to", path)
    table = pyarrow.parquet.read_table(path)
    assert (status, len(table)) == (0, 24)
    assert f"24 rows in '{path}'" in out
    assert set(table["label"].to_pylist()) == {"blue", "red"}
    assert len(table["features"][0]) == 96


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "features.csv"], "has to end in .parquet"),
        (["--to", "none/features.parquet"], "There is no folder 'none'"),
        (["--to", "parquet", "--num_views", "2"], "one row for each image"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_first(compute, words, said):
    status, out, err = compute(*words)
    assert (status, out) == (1, "")
    assert said in err


def test_the_neighbors_of_an_image_are_listed_without_itself(features, images):
    query = images / "red" / "00.png"
    status, out, _ = features(
        "neighbors", query, "--data.root", images, "--num_neighbors", "3", *SMALL
    )
    rows = [line.split() for line in out.splitlines() if "red/" in line or "blue/" in line]
    assert (status, len(rows)) == (0, 3)
    assert str(query) not in out
    assert float(rows[0][0]) >= float(rows[2][0])


def test_an_image_that_is_not_there_is_named(features, images):
    status, _, err = features("neighbors", "no.png", "--data.root", images, *SMALL)
    assert status == 1
    assert "Cannot read 'no.png': it does not exist" in err
