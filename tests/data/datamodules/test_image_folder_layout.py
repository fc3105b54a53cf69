"""Folders whose layout is another one than class folders or train, val and test."""

import pytest

from tltool.data.datamodules.image_folder import ImageFolderDataModule

TWO = {"ants": 3, "bees": 3}


@pytest.fixture
def splits(images):
    """Write the same two classes below each folder."""

    def make(*names):
        return [images(TWO, below=name) for name in names][-1]

    return make


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("seg_train", "seg_test"),
        ("training_set", "test_set"),
        ("train_images", "test_images"),
        ("TrainingData", "TestData"),
        ("trainset", "testset"),
        ("TRAIN 1", "TEST 1"),
    ],
)
def test_folders_that_are_words_for_splits_name_the_option(splits, train, test):
    root = splits(train, test)
    advice = rf"{train}.*splits, set --data.split_folders '{{train: {train}, test: {test}}}'"
    with pytest.raises(ValueError, match=advice):
        ImageFolderDataModule(root).setup("fit")


def test_the_named_folders_are_the_splits(splits):
    root = splits("Training", "Testing")
    folders = {"train": "Training", "test": "Testing"}
    data = ImageFolderDataModule(root, split_folders=folders, batch_size=4)
    data.setup("fit")
    assert data.class_names == ["ants", "bees"]
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [4, 2, 6]


@pytest.mark.parametrize("name", ["Train", "TRAIN", "train"])
def test_the_usual_names_need_no_option_in_any_case(splits, name):
    assert ImageFolderDataModule(splits(name, "Val")).class_names == ["ants", "bees"]


def test_a_split_with_an_unusual_name_beside_train_is_not_left_out(splits):
    root = splits("train", "Testing", "unlabeled")
    with pytest.raises(ValueError, match=r"split_folders '{train: train, test: Testing}'"):
        ImageFolderDataModule(root).setup("fit")


@pytest.mark.parametrize("word", ["seg_train", "train"])
def test_a_split_in_a_folder_of_its_own_name_is_found(splits, word):
    other = word.replace("train", "test")
    root = splits(f"{word}/{word}", f"{other}/{other}")
    advice = f"split_folders '{{train: {word}/{word}, test: {other}/{other}}}'"
    with pytest.raises(ValueError, match=advice):
        ImageFolderDataModule(root).setup("fit")


def test_folders_that_all_hold_the_same_folders_are_refused(splits):
    root = splits("fold1", "fold2", "fold10")
    with pytest.raises(ValueError, match=r"fold1, fold2, fold10, which all hold .* ants, bees"):
        ImageFolderDataModule(root).setup("fit")


def test_folders_that_all_hold_splits_are_data_sets(images):
    for name in ("flowers", "tumors"):
        images({"red": 2, "blue": 2}, below=f"{name}/train")
        images({"red": 2, "blue": 2}, below=f"{name}/val")
    root = images({}, below=".")
    message = r"flowers, tumors, which all hold the folders train, val: they look like data sets"
    with pytest.raises(ValueError, match=rf"{message}.*--data.root \S+flowers\."):
        ImageFolderDataModule(root).setup("fit")


def test_a_split_that_lacks_a_class_still_holds_the_same_folders(splits, images):
    splits("Lernen", "Pruefen")
    root = images({"wasps": 3}, below="Lernen")
    with pytest.raises(ValueError, match=r"split_folders '{train: Lernen, val: Pruefen}'"):
        ImageFolderDataModule(root).setup("fit")


def test_classes_that_all_hold_the_same_folders_are_classes_if_they_are_named(images):
    for name in ("left", "right"):
        images({name: 4}, below="ants")
        root = images({name: 4}, below="bees")
    with pytest.raises(ValueError, match=r"classes, set --data.class_names '\[ants, bees\]'"):
        ImageFolderDataModule(root).setup("fit")
    assert ImageFolderDataModule(root, class_names=["ants", "bees"]).train_class_counts == [6, 6]


def test_one_folder_that_all_classes_hold_is_no_split(images):
    images({"images": 5}, below="ants")
    root = images({"images": 5}, below="bees")
    assert ImageFolderDataModule(root).train_class_counts == [4, 4]


def test_the_same_folders_in_the_classes_of_a_split_are_refused(splits):
    root = splits("train/left", "train/right")
    with pytest.raises(ValueError, match=r"split_folders '{train: train/left, val: train/right}'"):
        ImageFolderDataModule(root).setup("fit")


@pytest.mark.parametrize("word", ["test", "val", "Training"])
def test_a_split_among_classes_is_refused(images, word):
    root = images({**TWO, word: 3})
    with pytest.raises(ValueError, match=f"--data.class_names .*{word}.*"):
        ImageFolderDataModule(root).setup("fit")


@pytest.mark.parametrize(
    "names", [("bus", "train"), ("train_station", "test_tube"), ("bullet train", "steam train")]
)
def test_classes_with_a_word_for_a_split_are_classes(images, names):
    assert set(ImageFolderDataModule(images(dict.fromkeys(names, 3))).class_names) == set(names)


def test_words_for_splits_without_class_folders_are_no_classes(images):
    root = images({"Training": 3, "Testing": 3})
    with pytest.raises(FileNotFoundError, match="There are images, but not in class folders"):
        ImageFolderDataModule(root).setup("fit")


@pytest.mark.parametrize("below", ["data", "data/v2", "data/train"])
def test_a_root_one_level_too_high_names_the_right_one(images, below):
    root = images(TWO, below=below)
    with pytest.raises(ValueError, match=rf"ants, bees. .* set --data.root .*/images/{below}"):
        ImageFolderDataModule(root).setup("fit")


def test_evaluation_with_known_classes_does_not_take_a_split_for_one(splits):
    data = ImageFolderDataModule(splits("Training", "Testing"), class_names=["ants", "bees"])
    with pytest.raises(ValueError, match=r"{train: Training, test: Testing}'\.$"):
        data.setup("test")


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"train": "Trainng"}, r"Did you mean --data.split_folders.train '.*Training'"),
        ({"trian": "Training"}, "Did you mean 'train'"),
        ({"train": "Training", "val": "Training"}, "the same images would be in both"),
        ({"train": ".", "test": "Testing"}, "the same images would be in both"),
    ],
    ids=["a folder that is not there", "an unknown split", "one folder twice", "one in the other"],
)
def test_split_folders_that_cannot_be_are_refused(splits, given, advice):
    root = splits("Training", "Testing")
    with pytest.raises((ValueError, FileNotFoundError), match=advice):
        ImageFolderDataModule(root, split_folders=given).setup("fit")


@pytest.mark.parametrize(
    ("link", "target"),
    [("val", "train"), ("val/ants", "../train/ants"), ("train/wasps", "bees")],
)
def test_a_link_that_gives_images_to_two_splits_or_classes_is_refused(images, link, target):
    root = images(TWO, below="train")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(target, target_is_directory=True)
    with pytest.raises(ValueError, match=r"are one by a link, .* Remove the link"):
        ImageFolderDataModule(root).setup("fit")


def test_names_in_the_advice_are_quoted_for_yaml_and_shell(splits):
    root = splits("it's train", "it's test")
    with pytest.raises(ValueError, match=r"""'{train: it'"'"'s train, test: it'"'"'s test}'"""):
        ImageFolderDataModule(root).setup("fit")


SYSTEM = [
    "@eaDir",
    "__MACOSX",
    "#recycle",
    "$RECYCLE.BIN",
    "lost+found",
    "System Volume Information",
]


@pytest.mark.parametrize("name", [*SYSTEM, ".Trashes", ".ipynb_checkpoints", "$Recycle.Bin"])
@pytest.mark.parametrize("depth", ["", "ants/", "ants/deeper/", "train/"])
def test_system_folders_are_left_out_at_every_depth(images, name, depth):
    below = "train" if depth == "train/" else ""
    root = images(TWO, below=below)
    images({f"{depth}{name}/0.jpg": 2})
    assert ImageFolderDataModule(root).class_names == ["ants", "bees"]
    assert len(ImageFolderDataModule(root).records) == 6


def test_system_folders_are_named_once(images, caplog):
    caplog.set_level("INFO")
    for split in ("train", "test"):
        images({**TWO, "ants/@eaDir": 1, "bees/@eaDir": 1}, below=split)
    root = images({"#recycle": 1})
    assert len(ImageFolderDataModule(root).records) == 12
    assert caplog.text.count("@eaDir") == caplog.text.count("#recycle, @eaDir") == 1


def test_prediction_leaves_system_folders_out_and_names_them(images, caplog):
    caplog.set_level("INFO")
    root = images({**TWO, "ants/@eaDir/0.jpg": 2})
    assert len(ImageFolderDataModule(root, class_names=["ants", "bees"]).find_unlabeled()) == 6
    assert caplog.text.count("@eaDir") == 1


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ("0 1 10 2", "0 1 2 10"),
        ("grade10 grade2 grade1", "grade1 grade2 grade10"),
        ("1 01 1.0 001", "001 01 1 1.0"),
        ("10 -1 0.5 0.25", "-1 0.25 0.5 10"),
        ("cat Cat", "Cat cat"),
    ],
)
def test_numbers_in_class_names_are_sorted_by_value(images, names, order):
    assert (
        ImageFolderDataModule(images(dict.fromkeys(names.split(), 2))).class_names == order.split()
    )
