"""A tuning split out of the training images, so that the validation images report."""

from collections import Counter

import pytest

from tltool.data.datamodules.record_splits import FEWEST_TUNING, make_splits
from tltool.data.datamodules.records import ImageRecord
from tltool.data.files.folder_layout import WHOLE


def records(split, number, group=False):
    return [
        ImageRecord(
            f"{split}{i}", f"{split}{i}", "ab"[i % 2], split, f"{split}{i // 10}" if group else ""
        )
        for i in range(number)
    ]


def split(found, tuning=0.2):
    return make_splits(
        found, "ab", "ab", {"val": 0.2}, place="'images'", seed=0, tuning=tuning
    ).by_name()


def test_what_validated_tests_and_part_of_what_trained_validates():
    splits = split([*records("train", 300), *records("val", 50)])
    assert {name: len(samples) for name, samples in splits.items()} == {
        "train": 240,
        "val": 60,
        "test": 50,
    }
    assert all(path.startswith("val") for path in splits["test"].paths)
    assert set(splits["train"].paths).isdisjoint(splits["val"].paths)
    assert Counter(splits["val"].labels) == {0: 30, 1: 30}


def test_images_without_splits_get_three():
    sizes = {name: len(samples) for name, samples in split(records(WHOLE, 400)).items()}
    assert sizes == {"train": 256, "val": 64, "test": 80}


def test_where_there_is_a_test_split_the_validation_images_choose():
    splits = split([*records("train", 300), *records("val", 50), *records("test", 20)])
    assert (len(splits["train"]), len(splits["val"]), len(splits["test"])) == (300, 50, 20)


def test_too_few_images_are_left_to_train_and_the_description_says_so():
    few = FEWEST_TUNING * 5 - 4
    found = [*records("train", few), *records("val", 50)]
    assert len(split(found)["train"]) == few
    splits = make_splits(found, "ab", "ab", {}, place="'images'", seed=0, tuning=0.2)
    words = f"{few} train, 50 val (no tuning split: {FEWEST_TUNING - 1} images are too few), 2"
    assert words in splits.describe("ab")


def split_classes(number, images_each):
    """Split classes of so many training images, and a validation image of each."""
    names = [f"class{i}" for i in range(number)]
    found = [
        ImageRecord(f"{name}-{i}", f"{name}-{i}", name, "train" if i else "val")
        for name in names
        for i in range(images_each + 1)
    ]
    return make_splits(found, names, names, {}, place="'images'", seed=0, tuning=0.2)


def test_rounding_in_each_class_does_not_make_a_tuning_split_of_too_few():
    splits = split_classes(25, 12)
    assert "300 train, 25 val (no tuning split: 50 images are too few)" in splits.describe("ab")


@pytest.mark.parametrize("images_each", [2, 3])
def test_none_is_taken_where_small_classes_would_make_it_far_too_large(images_each, caplog):
    splits = split_classes(200, images_each)
    assert len(splits.train) == 200 * images_each
    assert splits.test is None
    assert f"of small classes, it would have 200 of {200 * images_each} images" in caplog.text
    assert "Add images, or give the images a test split" in caplog.text


@pytest.mark.parametrize(("images_each", "taken"), [(4, 1), (5, 1), (8, 2), (13, 3)])
def test_a_quarter_may_be_taken_where_classes_are_rounded(images_each, taken, caplog):
    splits = split_classes(200, images_each)
    assert (len(splits.train), len(splits.val)) == (200 * (images_each - taken), 200 * taken)
    assert not caplog.text


@pytest.mark.parametrize(("tuning", "test"), [(0.0, 0), (0.2, 20)])
def test_where_no_tuning_split_is_asked_for_or_needed_the_description_has_none(tuning, test):
    found = [*records("train", 100), *records("val", 50), *records("test", test)]
    splits = make_splits(found, "ab", "ab", {}, place="'images'", seed=0, tuning=tuning)
    assert "tuning" not in splits.describe("ab")


def test_groups_stay_together():
    splits = split([*records("train", 300, group=True), *records("val", 50, group=True)])
    assert set(splits["train"].groups).isdisjoint(splits["val"].groups)


def test_one_group_is_not_split():
    found = [
        ImageRecord(f"{s}{i}", f"{s}{i}", "ab"[i % 2], s, f"{s} one")
        for s in ("train", "val")
        for i in range(300)
    ]
    assert len(split(found)["train"]) == 300


def of_groups(split, *sizes):
    """Return records of groups of these sizes, each with two classes in balance."""
    return [
        ImageRecord(f"{split}{g}-{i}", f"{split}{g}-{i}", "ab"[i % 2], split, f"{split}{g}")
        for g, size in enumerate(sizes)
        for i in range(size)
    ]


def split_groups(*records, seed=0):
    found = [record for each in records for record in each]
    return make_splits(found, "ab", "ab", {"val": 0.2}, place="'images'", seed=seed, tuning=0.2)


@pytest.mark.parametrize("seed", range(6))
def test_a_tuning_split_of_groups_takes_about_its_share(seed):
    splits = split_groups(of_groups("train", 400, 50, 50, 40, 60), of_groups("val", 50), seed=seed)
    assert splits.has_tuning
    assert 60 <= len(splits.val) <= 180


def test_too_few_images_of_whole_groups_are_left_to_train():
    splits = split_groups(of_groups("train", 400, 50), of_groups("val", 50))
    assert (len(splits.train), splits.too_few_to_tune) == (450, 50)


def test_none_is_taken_where_whole_groups_would_make_it_far_too_large(caplog):
    splits = split_groups(of_groups("train", 200, 200, 200), of_groups("val", 50))
    assert (len(splits.train), splits.test) == (600, None)
    assert "of whole groups, it would have 200 of 600 images. Add groups, or" in caplog.text


@pytest.mark.parametrize("seed", range(6))
def test_a_large_group_trains_and_does_not_validate(seed, caplog):
    splits = split_groups(of_groups(WHOLE, 400, 50, 50, 40, 60, 55, 45), seed=seed)
    assert len(splits.train) >= 400
    assert not caplog.text


@pytest.mark.parametrize(("sizes", "taken"), [((350, 350, 400), 350), ((900, 900, 150), 150)])
def test_a_split_far_from_its_fraction_is_warned_of_with_the_largest_group(sizes, taken, caplog):
    split_groups(of_groups(WHOLE, *sizes))
    assert f"--data.val_fraction 0.2 asks for {sum(sizes) // 5} of {sum(sizes)}" in caplog.text
    assert f"gets {taken}: groups stay whole, and the largest, {WHOLE}" in caplog.text
    assert "Add groups, or give each image its split" in caplog.text


def of_patients(split, **images):
    """Return records of patients, each with images of one class."""
    return [
        ImageRecord(f"{split}{name}{i}", f"{split}{name}{i}", name[0], split, f"{split} {name}")
        for name, number in images.items()
        for i in range(number)
    ]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({"a": 240, "b": 80}, "it would have no image of a and train would have no image of b"),
        ({"a1": 90, "a2": 90, "b": 150}, "it would have no image of b"),
    ],
)
def test_none_is_taken_where_train_or_the_tuning_split_would_lack_a_class(images, words, caplog):
    splits = split([*of_patients("train", **images), *records("val", 50, group=True)])
    assert len(splits["train"]) == sum(images.values())
    assert "test" not in splits
    assert "No tuning split is taken from the training images in 'images'" in caplog.text
    assert words in caplog.text


def test_a_class_of_one_image_trains_and_does_not_hinder_a_tuning_split(caplog):
    one = ImageRecord("one", "one", "c", "train")
    found = [*records("train", 300), one, *records("val", 50)]
    splits = make_splits(found, "abc", "abc", {}, place="'images'", seed=0, tuning=0.2).by_name()
    assert "one" in splits["train"].paths
    assert len(splits["test"]) == 50
    assert not caplog.text


@pytest.mark.parametrize("tuning", [0.0, None])
def test_none_is_taken_unasked(tuning):
    assert "test" not in split([*records("train", 300), *records("val", 50)], tuning or 0.0)
