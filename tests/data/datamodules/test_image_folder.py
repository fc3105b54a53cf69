import os
from pathlib import Path

import pytest

from tltool.data.datamodules.image_folder import ImageFolderDataModule


def names(samples, root):
    return [Path(path).relative_to(root).as_posix() for path in samples.paths]


def test_class_names_are_sorted_and_known_before_setup(photos):
    data = ImageFolderDataModule(photos({"bees": 3, "ants": 2}))
    assert (data.class_names, data.num_classes) == (["ants", "bees"], 2)


def test_a_flat_folder_is_split_by_class(photos):
    data = ImageFolderDataModule(photos({"ants": 10, "bees": 5}))
    assert data.train_class_counts == [8, 4]
    assert data.splits.val.class_counts(2) == [2, 1]


def test_the_split_does_not_depend_on_where_the_folder_lies(photos, tmp_path):
    root = photos({"ants": 10, "bees": 5})
    before = names(ImageFolderDataModule(root).splits.val, root)
    moved = root.rename(tmp_path / "moved")
    assert names(ImageFolderDataModule(moved).splits.val, moved) == before


def test_train_and_val_folders_are_kept_apart(photos):
    photos({"ants": 3, "bees": 4}, below="train")
    data = ImageFolderDataModule(photos({"ants": 1, "bees": 2}, below="val"))
    assert data.train_class_counts == [3, 4]
    assert data.splits.val.class_counts(2) == [1, 2]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_val_has_several_names(photos, name):
    photos({"ants": 3, "bees": 3}, below="train")
    data = ImageFolderDataModule(photos({"ants": 1, "bees": 1}, below=name))
    assert len(data.samples("val")) == 2


def test_a_train_folder_alone_is_split(photos):
    data = ImageFolderDataModule(photos({"ants": 10, "bees": 10}, below="train"))
    assert (len(data.samples("train")), len(data.samples("val"))) == (16, 4)


def test_a_train_folder_alone_splits_like_a_flat_folder_of_the_same_name(photos):
    root = photos({"ants": 10, "bees": 10}, below="train")
    nested, flat = ImageFolderDataModule(root), ImageFolderDataModule(root / "train")
    assert len(nested.samples("val")) == 4
    assert nested.samples("val").paths == flat.samples("val").paths


def test_test_photos_are_read_from_their_folder(photos):
    photos({"ants": 3, "bees": 3}, below="train")
    data = ImageFolderDataModule(photos({"ants": 1, "bees": 2}, below="test"))
    assert data.samples("test").class_counts(2) == [1, 2]


@pytest.mark.parametrize("part", ["val", "test"])
def test_an_evaluation_folder_needs_no_train(photos, part):
    data = ImageFolderDataModule(photos({"ants": 1, "bees": 2}, below=part))
    assert data.samples(part).class_counts(2) == [1, 2]


def test_photos_of_trains_are_a_class(photos):
    data = ImageFolderDataModule(photos({"bus": 3, "train": 3}))
    assert data.class_names == ["bus", "train"]


def test_folders_beside_train_are_named_in_a_warning(photos, caplog):
    photos({"ants": 3, "bees": 3}, below="train")
    root = photos({"unlabeled": 2})
    assert ImageFolderDataModule(root).class_names == ["ants", "bees"]
    assert "left out the folders beside: unlabeled" in caplog.text


def test_hidden_files_and_folders_are_left_out(photos):
    root = photos({"ants": 3, "bees": 3, ".cache": 1, "__MACOSX": 1})
    for name in (".DS_Store", "._001.png", "Thumbs.db", "labels.csv"):
        (root / "ants" / name).write_text("no photo")
    assert ImageFolderDataModule(root).class_names == ["ants", "bees"]
    assert len(ImageFolderDataModule(root).samples("train")) == 4


def test_nested_folders_belong_to_their_class(photos):
    photos({"2023": 2, "2024": 3}, below="ants")
    data = ImageFolderDataModule(photos({"bees": 5}))
    assert data.train_class_counts == [4, 4]


def test_linked_class_folders_are_followed(photos, tmp_path):
    root = photos({"ants": 4, "bees": 4})
    (root / "ants").rename(tmp_path / "elsewhere")
    (root / "ants").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ImageFolderDataModule(root).train_class_counts == [3, 3]


def test_links_in_a_circle_end(photos):
    root = photos({"ants": 4, "bees": 4})
    (root / "ants" / "again").symlink_to(root / "ants", target_is_directory=True)
    assert ImageFolderDataModule(root).train_class_counts == [3, 3]


def test_names_with_spaces_and_accents_are_classes(photos):
    data = ImageFolderDataModule(photos({"große Ameisen": 3, "蜂": 3}, suffix=".PNG"))
    assert data.class_names == ["große Ameisen", "蜂"]


def test_decomposed_accents_are_composed_in_class_names(photos):
    data = ImageFolderDataModule(photos({"fourmi": 3, "gu\u0065\u0301pe": 3}))
    assert data.class_names == ["fourmi", "gu\u00e9pe"]


def test_given_class_names_decide_the_labels(photos):
    root = photos({"ants": 1, "bees": 2}, below="val")
    data = ImageFolderDataModule(root, class_names=["wasps", "bees", "ants"])
    assert data.samples("val").class_counts(3) == [0, 2, 1]


def test_a_class_without_validation_photos_is_named_in_a_warning(photos, caplog):
    photos({"ants": 3, "bees": 3}, below="train")
    ImageFolderDataModule(photos({"ants": 2}, below="val")).setup("validate")
    assert "val photos" in caplog.text
    assert "have none of: bees" in caplog.text


def test_the_summary_counts_photos_and_classes(photos):
    photos({"ants": 3, "bees": 4}, below="train")
    data = ImageFolderDataModule(photos({"ants": 1, "bees": 2}, below="val"))
    assert data.summary() == "photos: 7 train, 3 val, 2 classes (ants 3, bees 4)"


def test_the_summary_of_many_classes_is_short(photos):
    data = ImageFolderDataModule(photos({f"class{i}": 2 + i % 2 for i in range(9)}))
    assert data.summary() == "photos: 13 train, 9 val, 9 classes (1 to 2 photos each)"


def test_prediction_reads_every_photo_below_a_folder_in_order(photos, data_config):
    photos({"b": 1, "a": 2}, below="deeper")
    root = photos({"": 1})
    data = ImageFolderDataModule(root, data_config=data_config, num_workers=0)
    paths = [path for batch in data.predict_dataloader() for path in batch["paths"]]
    expected = ["000.png", "deeper/a/000.png", "deeper/a/001.png", "deeper/b/000.png"]
    assert [Path(path).relative_to(root).as_posix() for path in paths] == expected


def test_prediction_reads_a_single_file(photos, data_config):
    path = photos({"ants": 1}) / "ants" / "000.png"
    data = ImageFolderDataModule(path, data_config=data_config, num_workers=0)
    (batch,) = data.predict_dataloader()
    assert batch["paths"] == [str(path)]
    assert "labels" not in batch


def test_known_labels_are_the_classes_of_the_splits(photos):
    data = ImageFolderDataModule(root := photos({"ants": 2, "bees": 2}))
    assert data.known_labels()[str(root / "bees" / "001.png")] == "bees"
    assert len(data.known_labels()) == 4


def test_photos_to_predict_have_the_label_of_a_class_folder_above_them(photos):
    photos({"": 1, "bees/deeper": 1, "other": 1})
    root = photos({"ants": 1})
    data = ImageFolderDataModule(root, class_names=["ants", "bees"])
    found = {Path(p).relative_to(root).as_posix(): n for p, n in data.known_labels().items()}
    assert found == {"ants/000.png": "ants", "bees/deeper/000.png": "bees"}


def test_a_class_folder_whose_name_is_no_utf8_can_be_printed(photos):
    data = ImageFolderDataModule(photos({os.fsdecode(b"K\xe4fer"): 4, "bees": 4}))
    assert data.class_names == ["K\\xe4fer", "bees"]
    assert b"K\\xe4fer" in data.summary().encode()
