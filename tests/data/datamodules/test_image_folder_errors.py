import shutil

import pytest

from tltool.data.datamodules.image_folder import ImageFolderDataModule


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("imges", r"Did you mean --data.root '.*/images'\?"),
        ("image/train", r"Did you mean --data.root '.*/images/train'\?"),
        ("xyz", "has these folders: images"),
    ],
    ids=["a near name", "a near name in between", "no near name"],
)
def test_a_missing_folder_says_what_is_there(images, missing, advice):
    root = images({"ants": 2, "bees": 2}, below="train")
    with pytest.raises(FileNotFoundError, match=advice):
        ImageFolderDataModule(root.parent / missing).setup("fit")


@pytest.mark.parametrize(
    ("counts", "advice"),
    [
        (
            {"ants": 3, "bees": 3, "wasps": 0},
            "class wasps in .* has no image. .* or remove",
        ),
        ({"ants": 3, "bees": 1}, "class bees in .* has 1 image, which cannot be split"),
        ({"ants": 3}, "Add images of a second class"),
    ],
    ids=["an empty class", "a class of one image", "one class"],
)
def test_too_few_images_to_train_on_are_refused(images, counts, advice):
    with pytest.raises(ValueError, match=advice):
        ImageFolderDataModule(images(counts)).setup("fit")


def test_fewer_images_than_a_batch_that_was_asked_for_are_refused(images):
    folder = images({"ants": 10, "bees": 10})
    with pytest.raises(ValueError, match=r"batch size 32 .* 16 training images. .*batch_size 16"):
        ImageFolderDataModule(folder, batch_size=32).setup("fit")


def test_train_and_val_without_class_folders_are_no_classes(images):
    with pytest.raises(FileNotFoundError, match="There are images, but not in class folders"):
        ImageFolderDataModule(images({"train": 3, "val": 3})).setup("fit")


def test_a_file_instead_of_a_folder_is_refused(images):
    path = images({"ants": 2, "bees": 2}) / "ants" / "000.png"
    with pytest.raises(NotADirectoryError, match=r"is a file, .* Set --data.root '.*ants'"):
        ImageFolderDataModule(path).setup("fit")


def test_an_empty_root_is_not_the_working_directory(images, monkeypatch):
    monkeypatch.chdir(images({"ants": 2, "bees": 2}))
    with pytest.raises(ValueError, match=r"--data.root is empty, .* or \. for this one"):
        ImageFolderDataModule("")


def test_the_home_of_a_user_who_is_not_known_is_no_folder():
    with pytest.raises(FileNotFoundError, match="There is no folder '~nobody-here/images'"):
        ImageFolderDataModule("~nobody-here/images").setup("fit")


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "images.zip").touch()
    with pytest.raises(NotADirectoryError, match=r"is an archive. Unpack it, and set --data.root"):
        ImageFolderDataModule(tmp_path / "images.zip").setup("fit")


def test_an_empty_folder_says_which_suffixes_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no class folders .*\.jpg \.jpeg.*here are: no"):
        ImageFolderDataModule(tmp_path).setup("fit")


def test_class_folders_without_images_say_what_they_hold(tmp_path):
    (tmp_path / "ants").mkdir()
    (tmp_path / "ants" / "ant.psd").touch()
    with pytest.raises(FileNotFoundError, match=r"no class folders with images.*here are: \.psd"):
        ImageFolderDataModule(tmp_path).setup("fit")


def test_images_without_class_folders_are_told_where_to_go(images):
    with pytest.raises(FileNotFoundError, match=r"not in class folders. .* /.*/ants/<class>/\*"):
        ImageFolderDataModule(images({"ants": 3}) / "ants").setup("fit")


def test_a_class_of_one_image_is_enough_beside_a_val_folder(images):
    images({"ants": 1, "bees": 1}, below="train")
    data = ImageFolderDataModule(images({"ants": 1, "bees": 1}, below="val"), batch_size=2)
    data.setup("fit")
    assert data.train_class_counts == [1, 1]


def test_a_class_in_val_that_train_lacks_is_named(images):
    images({"ants": 3, "bees": 3}, below="train")
    root = images({"ants": 1, "wasps": 1}, below="val")
    with pytest.raises(ValueError, match=r"val images .* class wasps, .*training.*: ants, bees"):
        ImageFolderDataModule(root).setup("fit")


def test_a_class_that_the_checkpoint_lacks_names_both_lists(images):
    root = images({"ants": 2, "wasps": 2}, below="val")
    with pytest.raises(ValueError, match=r"found: ants, wasps. .* checkpoint: ants, bees"):
        ImageFolderDataModule(root, class_names=["ants", "bees"]).setup("validate")


def test_two_folders_for_validation_are_refused(images):
    for name in ("valid", "val"):
        root = images({"ants": 1, "bees": 1}, below=name)
    with pytest.raises(ValueError, match=r"two folders for val: val and valid. Remove one"):
        ImageFolderDataModule(root).setup("fit")


def test_a_val_fraction_outside_zero_and_one_is_refused(images):
    with pytest.raises(ValueError, match=r"Set --data.val_fraction 0.2"):
        ImageFolderDataModule(images({"ants": 3, "bees": 3}), val_fraction=20)


def test_testing_without_a_test_folder_points_to_validate(images):
    root = images({"ants": 3, "bees": 3})
    with pytest.raises(
        ValueError, match=r"no images for testing. .*test/<class>/.*tltool validate"
    ):
        ImageFolderDataModule(root).setup("test")


def test_training_without_training_images_says_what_to_give(images):
    root = images({"ants": 3, "bees": 3}, below="val")
    with pytest.raises(ValueError, match=r"no images for training. Give a folder"):
        ImageFolderDataModule(root).setup("fit")


def test_predicting_an_empty_folder_is_refused(tmp_path, data_config):
    with pytest.raises(FileNotFoundError, match=r"has no images. Files with these suffixes"):
        ImageFolderDataModule(tmp_path, data_config=data_config).predict_dataloader()


def test_images_that_vanish_after_the_listing_are_named(images, data_config):
    root = images({"ants": 4, "bees": 4})
    data = ImageFolderDataModule(root, data_config=data_config, batch_size=2, num_workers=0)
    data.setup("fit")
    shutil.rmtree(root)
    with pytest.raises(ValueError, match="it does not exist"):
        next(iter(data.train_dataloader()))
