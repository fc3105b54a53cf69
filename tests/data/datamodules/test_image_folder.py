import io
import os
import sys
from pathlib import Path

import pytest

from tltool.data.datamodules.image_folder import ImageFolderDataModule


def names(samples, root):
    return [Path(path).relative_to(root).as_posix() for path in samples.paths]


def test_class_names_are_sorted_and_known_before_setup(images):
    data = ImageFolderDataModule(images({"bees": 3, "ants": 2}))
    assert (data.class_names, data.num_classes) == (["ants", "bees"], 2)


def test_a_flat_folder_is_split_by_class(images):
    data = ImageFolderDataModule(images({"ants": 10, "bees": 5}))
    assert data.train_class_counts == [8, 4]
    assert data.splits.val.class_counts(2) == [2, 1]


def test_the_split_does_not_depend_on_where_the_folder_lies(images, tmp_path):
    root = images({"ants": 10, "bees": 5})
    before = names(ImageFolderDataModule(root).splits.val, root)
    moved = root.rename(tmp_path / "moved")
    assert names(ImageFolderDataModule(moved).splits.val, moved) == before


def test_train_and_val_folders_are_kept_apart(images):
    images({"ants": 3, "bees": 4}, below="train")
    data = ImageFolderDataModule(images({"ants": 1, "bees": 2}, below="val"))
    assert data.train_class_counts == [3, 4]
    assert data.splits.val.class_counts(2) == [1, 2]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_val_has_several_names(images, name):
    images({"ants": 3, "bees": 3}, below="train")
    data = ImageFolderDataModule(images({"ants": 1, "bees": 1}, below=name))
    assert len(data.samples("val")) == 2


def test_a_train_folder_alone_is_split(images):
    data = ImageFolderDataModule(images({"ants": 10, "bees": 10}, below="train"))
    assert (len(data.samples("train")), len(data.samples("val"))) == (16, 4)


def test_a_train_folder_alone_splits_like_a_flat_folder_of_the_same_name(images):
    root = images({"ants": 10, "bees": 10}, below="train")
    nested, flat = ImageFolderDataModule(root), ImageFolderDataModule(root / "train")
    assert len(nested.samples("val")) == 4
    assert nested.samples("val").paths == flat.samples("val").paths


def test_test_images_are_read_from_their_folder(images):
    images({"ants": 3, "bees": 3}, below="train")
    data = ImageFolderDataModule(images({"ants": 1, "bees": 2}, below="test"))
    assert data.samples("test").class_counts(2) == [1, 2]


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_evaluation_folder_needs_no_train(images, split):
    data = ImageFolderDataModule(images({"ants": 1, "bees": 2}, below=split))
    assert data.samples(split).class_counts(2) == [1, 2]


def test_images_of_trains_are_a_class(images):
    data = ImageFolderDataModule(images({"bus": 3, "train": 3}))
    assert data.class_names == ["bus", "train"]


def test_folders_beside_train_are_named_in_a_warning(images, caplog):
    images({"ants": 3, "bees": 3}, below="train")
    root = images({"unlabeled": 2})
    assert ImageFolderDataModule(root).class_names == ["ants", "bees"]
    assert "left out the folders beside: unlabeled" in caplog.text


@pytest.mark.parametrize("below", ["", "train"])
def test_images_beside_the_class_folders_are_counted_in_a_warning(images, below, caplog):
    images({"": 2}, below=below)
    data = ImageFolderDataModule(images({"ants": 3, "bees": 3}, below=below))
    assert len(data.records) == 6
    assert "Left out 2 images in" in caplog.text


def test_hidden_files_and_folders_are_left_out(images):
    root = images({"ants": 3, "bees": 3, ".cache": 1, "__MACOSX": 1})
    for name in (".DS_Store", "._001.png", "Thumbs.db", "labels.csv"):
        (root / "ants" / name).write_text("no image")
    assert ImageFolderDataModule(root).class_names == ["ants", "bees"]
    assert len(ImageFolderDataModule(root).samples("train")) == 4


def test_nested_folders_belong_to_their_class(images):
    images({"2023": 2, "2024": 3}, below="ants")
    data = ImageFolderDataModule(images({"bees": 5}))
    assert data.train_class_counts == [4, 4]


def test_linked_class_folders_are_followed(images, tmp_path):
    root = images({"ants": 4, "bees": 4})
    (root / "ants").rename(tmp_path / "elsewhere")
    (root / "ants").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ImageFolderDataModule(root).train_class_counts == [3, 3]


def test_links_in_a_circle_end(images):
    root = images({"ants": 4, "bees": 4})
    (root / "ants" / "again").symlink_to(root / "ants", target_is_directory=True)
    assert ImageFolderDataModule(root).train_class_counts == [3, 3]


@pytest.mark.parametrize("name", [b"K\xe4fer.jpg", b"a\rb.jpg"])
def test_any_name_of_a_file_may_stand_on_standard_input(tmp_path, monkeypatch, name):
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).touch()
    stream = io.TextIOWrapper(io.BytesIO(path + b"\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdin", stream)
    assert ImageFolderDataModule("-").unlabeled.paths == [os.fsdecode(path)]


def test_names_with_spaces_and_accents_are_classes(images):
    data = ImageFolderDataModule(images({"große Ameisen": 3, "蜂": 3}, suffix=".PNG"))
    assert data.class_names == ["große Ameisen", "蜂"]


def test_decomposed_accents_are_composed_in_class_names(images):
    data = ImageFolderDataModule(images({"fourmi": 3, "gu\u0065\u0301pe": 3}))
    assert data.class_names == ["fourmi", "gu\u00e9pe"]


def test_given_class_names_decide_the_labels(images):
    root = images({"ants": 1, "bees": 2}, below="val")
    data = ImageFolderDataModule(root, class_names=["wasps", "bees", "ants"])
    assert data.samples("val").class_counts(3) == [0, 2, 1]


def test_a_class_without_validation_images_is_named_in_a_warning(images, caplog):
    images({"ants": 3, "bees": 3}, below="train")
    ImageFolderDataModule(images({"ants": 2}, below="val")).setup("validate")
    assert "val images" in caplog.text
    assert "have none of: bees" in caplog.text


def test_the_summary_counts_images_and_classes(images):
    images({"ants": 3, "bees": 4}, below="train")
    data = ImageFolderDataModule(images({"ants": 1, "bees": 2}, below="val"))
    assert data.summary() == "images: 7 train, 3 val, 2 classes (ants 3, bees 4)"


def test_the_summary_of_many_classes_is_short(images):
    data = ImageFolderDataModule(images({f"class{i}": 2 + i % 2 for i in range(9)}))
    assert data.summary() == "images: 13 train, 9 val, 9 classes (1 to 2 images each)"


def test_the_summary_of_many_classes_of_one_size_names_it_once(images):
    data = ImageFolderDataModule(images({f"class{i}": 2 for i in range(9)}))
    assert data.summary() == "images: 9 train, 9 val, 9 classes (1 image each)"


def test_prediction_reads_every_image_below_a_folder_in_order(images, data_config):
    images({"b": 1, "a": 2}, below="deeper")
    root = images({"": 1})
    data = ImageFolderDataModule(root, data_config=data_config, num_workers=0)
    paths = [path for batch in data.predict_dataloader() for path in batch["paths"]]
    expected = ["000.png", "deeper/a/000.png", "deeper/a/001.png", "deeper/b/000.png"]
    assert [Path(path).relative_to(root).as_posix() for path in paths] == expected


def test_prediction_reads_a_single_file(images, data_config):
    path = images({"ants": 1}) / "ants" / "000.png"
    data = ImageFolderDataModule(path, data_config=data_config, num_workers=0)
    (batch,) = data.predict_dataloader()
    assert batch["paths"] == [str(path)]
    assert "labels" not in batch


def test_known_labels_are_the_classes_of_the_splits(images):
    data = ImageFolderDataModule(root := images({"ants": 2, "bees": 2}))
    assert data.known_labels()[str(root / "bees" / "001.png")] == "bees"
    assert len(data.known_labels()) == 4


def test_images_to_predict_have_the_label_of_a_class_folder_above_them(images):
    images({"": 1, "bees/deeper": 1, "other": 1})
    root = images({"ants": 1})
    data = ImageFolderDataModule(root, class_names=["ants", "bees"])
    found = {Path(p).relative_to(root).as_posix(): n for p, n in data.known_labels().items()}
    assert found == {"ants/000.png": "ants", "bees/deeper/000.png": "bees"}


@pytest.mark.parametrize("root", ["ants", "ants/new", "ants/new/000.png"])
def test_a_folder_above_the_images_to_predict_gives_no_label(images, root):
    below = images({"new": 1}, below="ants") / root
    assert ImageFolderDataModule(below, class_names=["ants", "bees"]).known_labels() == {}


@pytest.mark.parametrize(
    ("place", "label"), [("ants/bees", "ants"), ("train/bus", "bus"), ("train/1", "train")]
)
def test_images_to_predict_have_the_label_that_training_gives_them(images, place, label):
    data = ImageFolderDataModule(images({place: 1}), class_names=["ants", "bees", "bus", "train"])
    assert list(data.known_labels().values()) == [label]


@pytest.mark.parametrize(
    ("root", "name"), [(".", "images"), ("..", "images"), ("../images/", "images"), ("/", "")]
)
def test_the_name_is_that_of_the_folder_however_it_is_written(images, monkeypatch, root, name):
    folder = images({"ants": 1, "bees": 1})
    monkeypatch.chdir(folder if root != ".." else folder / "ants")
    assert ImageFolderDataModule(root).name == name


def test_a_home_folder_is_written_out(images, monkeypatch):
    monkeypatch.setenv("HOME", str(images({"ants": 2, "bees": 2}).parent))
    assert ImageFolderDataModule("~/images/").train_class_counts == [1, 1]


def test_a_class_folder_whose_name_is_no_utf8_can_be_printed(images):
    data = ImageFolderDataModule(images({os.fsdecode(b"K\xe4fer"): 4, "bees": 4}))
    assert data.class_names == ["K\\xe4fer", "bees"]
    assert b"K\\xe4fer" in data.summary().encode()
