"""Class-balanced sampling, from the option to the batches."""

import pytest
from lightning.pytorch import seed_everything

from tltool.data.datamodules.image_folder import ImageFolderDataModule


@pytest.fixture
def data(images, data_config):
    """Return a function that makes data of 8 ants and 4 bees to train on."""

    def make(**options):
        root = images({"ants": 10, "bees": 5})
        given = {"data_config": data_config, "batch_size": 4, "num_workers": 0}
        return ImageFolderDataModule(root, **given | options)

    return make


def labels_of_an_epoch(data, epoch=0):
    seed_everything(0)
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    return [label for batch in loader for label in batch["labels"].tolist()]


def test_without_the_option_each_image_comes_once(data):
    assert sorted(labels_of_an_epoch(data())) == [0] * 8 + [1] * 4


@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_has_as_many_images_and_classes_equally_often(data, epoch):
    found = labels_of_an_epoch(data(sampling="class_balanced"), epoch)
    assert sorted(found) == [0] * 6 + [1] * 6


def test_validation_images_are_drawn_as_they_are(data):
    batches = data(sampling="class_balanced").val_dataloader()
    assert [label for batch in batches for label in batch["labels"].tolist()] == [0, 0, 1]


@pytest.mark.parametrize(("sampling", "counts"), [("shuffled", [8, 4]), ("class_balanced", [6, 6])])
def test_the_classes_of_an_epoch_are_counted_as_they_are_drawn(data, sampling, counts):
    assert data(sampling=sampling).drawn_class_counts == counts
    assert data(sampling=sampling).train_class_counts == [8, 4]


@pytest.mark.parametrize("method", ["setup", "train_dataloader"])
def test_a_class_without_training_images_is_named(images, data_config, method):
    images({"ants": 5, "bees": 5}, below="train")
    root = images({"ants": 2, "bees": 2}, below="val")
    names = ["ants", "bees", "wasps"]
    options = {"class_names": names, "sampling": "class_balanced", "batch_size": 4}
    data = ImageFolderDataModule(root, data_config=data_config, num_workers=0, **options)
    with pytest.raises(ValueError, match=r"no training images of: wasps.*--data.sampling shuffled"):
        getattr(data, method)(*["fit"][: method == "setup"])


def test_another_word_is_refused_with_the_nearest(data):
    with pytest.raises(ValueError, match=r"Did you mean 'class_balanced'"):
        data(sampling="class_balance")
