import csv
from pathlib import Path

import pytest

from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.data.files.natural_order import natural_key


@pytest.fixture
def manifest(tmp_path, noise):
    """Write images and their table: ``manifest([("a.png", "ants"), ...], "path,label")``."""

    def make(rows, header="path,label", missing=()):
        for index, row in enumerate(rows):
            path = tmp_path / row[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(index, 12, 10).save(path)
        for name in missing:
            (tmp_path / name).unlink()
        with (tmp_path / "images.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])
        return tmp_path / "images.csv"

    return make


TWENTY = [(f"{i:02}.png", ["ants", "bees"][i % 2]) for i in range(20)]
WITH_SPLIT = [(f"{i}.png", "ab"[i % 2], ["train", "VAL", "test"][i // 4]) for i in range(12)]
GROUPED = [(f"{i:02}.png", "ab"[i % 2], f"patient{i // 4}") for i in range(80)]
LABELS = "path,label"
SPLIT = "path,label,split"
GROUP = "path,label,group"


def names(samples):
    return [Path(path).name for path in samples.paths]


def test_rows_without_a_split_are_split_by_class(manifest):
    data = ManifestDataModule(manifest(TWENTY))
    assert data.train_class_counts == [8, 8]
    assert data.samples("val").class_counts(2) == [2, 2]


def test_a_test_split_on_request(manifest):
    data = ManifestDataModule(manifest(TWENTY), test_fraction=0.1)
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [14, 4, 2]


def test_the_split_column_decides(manifest):
    data = ManifestDataModule(manifest(WITH_SPLIT, SPLIT))
    assert names(data.samples("train")) == ["0.png", "1.png", "2.png", "3.png"]
    assert names(data.samples("val")) == ["4.png", "5.png", "6.png", "7.png"]
    assert names(data.samples("test")) == ["8.png", "9.png", "10.png", "11.png"]


def test_training_rows_are_split_where_no_row_validates(manifest):
    rows = [(name, label, "train") for name, label in TWENTY]
    data = ManifestDataModule(manifest(rows, SPLIT))
    assert [len(data.samples(split)) for split in ("train", "val")] == [16, 4]


def test_no_group_is_on_two_sides(manifest):
    data = ManifestDataModule(manifest(GROUPED, GROUP), test_fraction=0.2)
    groups = [
        {int(name[:2]) // 4 for name in names(data.samples(split))}
        for split in ("train", "val", "test")
    ]
    assert sorted(len(group) for group in groups) == [4, 4, 12]
    assert len(set.union(*groups)) == 20


def test_labels_that_are_numbers_are_sorted_by_value(manifest):
    rows = [(f"{i}.png", str(9 + i % 2)) for i in range(8)]
    assert ManifestDataModule(manifest(rows)).class_names == ["9", "10"]


def test_given_class_names_decide_the_labels(manifest):
    data = ManifestDataModule(manifest(WITH_SPLIT, SPLIT), class_names=["b", "c", "a"])
    assert data.samples("val").class_counts(3) == [2, 0, 2]


def test_a_class_name_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match=r"have '1' more than once\. Give each class once"):
        ManifestDataModule("images.csv", class_names=["1", "2", 1])


def test_other_names_of_columns(manifest):
    path = manifest(WITH_SPLIT, "file,species,fold")
    data = ManifestDataModule(path, path_column="file", label_column="species", split_column="fold")
    assert len(data.samples("val")) == 4


def test_a_table_without_a_header_is_told_to_write_one(manifest):
    path = manifest(TWENTY, "20.png,ants")
    with pytest.raises(ValueError, match=r"looks like data .*, such as path,label\."):
        ManifestDataModule(path).splits  # noqa: B018  # looked up here


def test_relative_paths_start_from_the_root(manifest, tmp_path):
    path = manifest(TWENTY)
    moved = path.rename(tmp_path.parent / f"{tmp_path.name}.csv")
    assert ManifestDataModule(moved, root=tmp_path).samples("val").paths


def test_absolute_paths_are_taken_as_they_are(manifest, tmp_path):
    rows = [(str(tmp_path / name), label) for name, label in TWENTY]
    data = ManifestDataModule(manifest(rows), root="/elsewhere")
    data.setup("validate")
    assert names(data.samples("val"))


def test_the_split_does_not_depend_on_the_order_of_the_rows(manifest):
    before = set(names(ManifestDataModule(manifest(TWENTY)).samples("val")))
    after = set(names(ManifestDataModule(manifest(TWENTY[::-1])).samples("val")))
    assert after == before


def test_a_batch_comes_from_the_table(manifest, data_config):
    data = ManifestDataModule(manifest(TWENTY), num_workers=0, data_config=data_config)
    (batch,) = data.val_dataloader()
    assert batch["images"].shape == (4, 3, 32, 32)


def test_prediction_reads_all_rows_in_order_without_labels(manifest, data_config):
    path = manifest([(name,) for name, _ in TWENTY], "path")
    data = ManifestDataModule(path, num_workers=0, data_config=data_config, class_names=["a", "b"])
    (batch,) = data.predict_dataloader()
    assert [Path(p).name for p in batch["paths"]] == [name for name, _ in TWENTY]
    assert "labels" not in batch


def test_known_labels_are_those_of_the_table(manifest):
    rows = [("0.png", "ants"), ("1.png", ""), ("2.png", "bees")]
    known = ManifestDataModule(manifest(rows)).known_labels()
    assert {Path(path).name: label for path, label in known.items()} == {
        "0.png": "ants",
        "2.png": "bees",
    }


def test_missing_images_are_counted_and_named(manifest):
    path = manifest(TWENTY, missing=["03.png", "04.png"])
    with pytest.raises(FileNotFoundError, match=r"2 of 20 images .*/03.png'. Set --data.root"):
        ManifestDataModule(path).setup("fit")


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("C:\\data\\03.png", "drive of Windows. Write the paths from the folder of the images on"),
        ("/data/C:/03.png", "drive of Windows"),
        ("03", "There is '03.png': write names with their suffix"),
        ("03.PNG", "There is '03.png': .* in the same case"),
    ],
    ids=["a drive", "a drive behind a folder", "no suffix", "another case"],
)
def test_a_path_from_elsewhere_says_how_to_write_it(manifest, written, advice):
    path = manifest(TWENTY)
    path.write_text(path.read_text().replace("03.png", written))
    with pytest.raises(FileNotFoundError, match=advice):
        ManifestDataModule(path).setup("fit")


def test_backslashes_are_those_of_windows(manifest):
    slashes = manifest([(f"{label}/{name}", label) for name, label in TWENTY])
    expected = ManifestDataModule(slashes).splits
    slashes.write_text(slashes.read_text().replace("/", "\\"))
    assert ManifestDataModule(slashes).splits == expected


def test_a_name_may_hold_a_backslash(manifest, tmp_path):
    data = ManifestDataModule(manifest([("a\\b.png", "ants"), ("c.png", "bees")]))
    assert data.find_unlabeled().paths[0] == str(tmp_path / "a\\b.png")


@pytest.mark.parametrize("written", ["./{}", "sub/../{}", "{folder}/{}"])
def test_the_split_does_not_depend_on_how_paths_are_written(manifest, tmp_path, written):
    expected = ManifestDataModule(manifest(TWENTY)).splits
    (tmp_path / "sub").mkdir()
    other = manifest([(written.format(n, folder=tmp_path), label) for n, label in TWENTY])
    assert [names(s) for s in ManifestDataModule(other).splits.by_name().values()] == [
        names(s) for s in expected.by_name().values()
    ]


def test_an_image_outside_the_folder_has_one_name_wherever_that_lies(manifest, tmp_path):
    (tmp_path / "tables").mkdir()
    path = manifest([(f"../{tmp_path.name}/{name}", label) for name, label in TWENTY])
    data = ManifestDataModule(path, root=tmp_path / "tables")
    assert data.records[0].name == f"../{tmp_path.name}/00.png"


@pytest.mark.parametrize("labels", [("1", "01"), (" 1", "1.0"), ("cat", "Cat"), ("1", "\u0661")])
def test_labels_that_look_alike_have_one_order_and_a_warning(manifest, caplog, labels):
    rows = [(f"{i}.png", labels[i % 2]) for i in range(12)]
    data = ManifestDataModule(manifest(rows))
    data.setup("validate")
    assert data.class_names == sorted((label.strip() for label in labels), key=natural_key)
    assert "that may be one class" in caplog.text


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ("1 0 10 2", "0 1 2 10"),
        ("stage10 stage9 stage1", "stage1 stage9 stage10"),
        ("yes no", "no yes"),
        ("None NA", "NA None"),
        ("1.5 -1 10", "-1 1.5 10"),
    ],
)
def test_labels_are_text_and_numbers_in_them_sorted_by_value(manifest, labels, order):
    words = labels.split()
    rows = [(f"{i}.png", words[i % len(words)]) for i in range(20)]
    assert ManifestDataModule(manifest(rows)).class_names == order.split()


def test_missing_images_can_be_skipped(manifest, caplog):
    path = manifest(TWENTY, missing=["03.png", "04.png"])
    data = ManifestDataModule(path, broken_files="skip")
    assert len(data.samples("train")) + len(data.samples("val")) == 18
    assert "Left out 2 of 20 images" in caplog.text


def test_a_missing_column_lists_those_that_are_there(manifest):
    path = manifest(TWENTY, "file,label")
    with pytest.raises(ValueError, match=r"no column 'path'; it has file, label. .*path_column"):
        ManifestDataModule(path).setup("fit")


def test_a_missing_column_that_was_asked_for_is_refused(manifest):
    with pytest.raises(ValueError, match=r"no column 'fold'.*set --data.split_column"):
        ManifestDataModule(manifest(TWENTY), split_column="fold").setup("fit")


def test_a_row_without_a_label_is_named(manifest):
    path = manifest([*TWENTY, ("odd.png", "")])
    with pytest.raises(ValueError, match=r"1 rows of .* no label, .* row 21, 'odd.png'"):
        ManifestDataModule(path).setup("fit")


def test_an_image_in_two_rows_is_refused(manifest):
    path = manifest([*TWENTY, TWENTY[0]])
    with pytest.raises(ValueError, match=r"in more than one row, such as '.*/00.png'"):
        ManifestDataModule(path).setup("fit")


def test_an_unknown_split_gets_the_nearest_name(manifest):
    path = manifest([(*row, "vall") for row in TWENTY], SPLIT)
    with pytest.raises(ValueError, match=r"Unknown split .* 'vall'. Did you mean 'val'\?"):
        ManifestDataModule(path).setup("fit")


def test_a_group_in_two_splits_is_refused(manifest):
    rows = [(name, label, split, "patient1") for name, label, split in WITH_SPLIT]
    with pytest.raises(ValueError, match="group patient1 is in train and in val"):
        ManifestDataModule(manifest(rows, "path,label,split,group")).setup("fit")


def test_a_row_without_a_group_is_named(manifest):
    rows = [*GROUPED[:-1], ("odd.png", "a", "")]
    with pytest.raises(ValueError, match=r"no group, .* row 80, 'odd.png'"):
        ManifestDataModule(manifest(rows, GROUP)).setup("fit")


def test_a_class_in_val_that_train_lacks_is_named(manifest):
    rows = [*WITH_SPLIT, ("odd.png", "wasps", "val")]
    with pytest.raises(ValueError, match=r"val images in .* have the class wasps"):
        ManifestDataModule(manifest(rows, SPLIT)).setup("fit")


def test_a_class_of_two_rows_cannot_give_three_splits(manifest):
    rows = [*TWENTY, ("x.png", "wasps"), ("y.png", "wasps")]
    with pytest.raises(ValueError, match=r"has 2 images, .* one for each of train, val, test"):
        ManifestDataModule(manifest(rows), test_fraction=0.1).setup("fit")


def test_testing_without_test_rows_says_how_to_get_some(manifest):
    with pytest.raises(ValueError, match=r"set --data.test_fraction 0.15"):
        ManifestDataModule(manifest(TWENTY)).setup("test")


@pytest.mark.parametrize("twin", ["./00.png", "sub/../00.png"])
def test_an_image_under_two_names_is_refused(manifest, tmp_path, twin):
    (tmp_path / "sub").mkdir()
    path = manifest([*TWENTY, (twin, "ants")])
    with pytest.raises(ValueError, match=r"in more than one row, such as '.*/00.png'"):
        ManifestDataModule(path).setup("fit")


def test_an_image_by_its_relative_and_its_absolute_path_is_refused(manifest, tmp_path):
    path = manifest([*TWENTY, (str(tmp_path / "00.png"), "ants")])
    with pytest.raises(ValueError, match=r"in more than one row, such as '.*/00.png'"):
        ManifestDataModule(path).setup("fit")


def test_an_image_through_a_linked_folder_is_refused(manifest, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    path = manifest([*((f"real/{name}", label) for name, label in TWENTY), ("link/00.png", "ants")])
    with pytest.raises(ValueError, match=r"in more than one row, such as '.*/real/00.png'"):
        ManifestDataModule(path).setup("fit")


@pytest.mark.parametrize("label", ["nan", "NaN"])
def test_a_label_of_nan_is_no_class(manifest, label):
    path = manifest([*TWENTY, ("odd.png", label), ("odder.png", label)])
    with pytest.raises(ValueError, match=r"2 rows of .* no label, .* row 21, 'odd.png'"):
        ManifestDataModule(path).setup("fit")


def test_a_row_without_a_path_is_numbered(manifest):
    path = manifest(TWENTY)
    path.write_text(f"{path.read_text()},ants\n")
    with pytest.raises(ValueError, match=r"1 rows of .* no path, .* row 21, ''. Give"):
        ManifestDataModule(path).setup("fit")


def test_a_row_without_a_split_is_numbered(manifest):
    path = manifest([*WITH_SPLIT, ("odd.png", "a", "")], SPLIT)
    with pytest.raises(
        ValueError, match=r"no split, .* row 13, 'odd.png'. Write train, val or test"
    ):
        ManifestDataModule(path).setup("fit")


def test_two_forms_of_an_accent_are_one_class(manifest):
    rows = [(f"{i}.png", ["K\u00e4fer", "Ka\u0308fer", "Biene"][i % 3]) for i in range(12)]
    assert ManifestDataModule(manifest(rows)).class_names == ["Biene", "K\u00e4fer"]


def test_its_text_names_the_table_also_where_no_row_trains(manifest):
    path = manifest([(name, label, "val") for name, label in TWENTY], SPLIT)
    assert str(ManifestDataModule(path)) == f"ManifestDataModule('{path}')"
