from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.transforms.crop_mode import CropMode
from tltool.data.transforms.image_transform import ImageTransform, unnormalize
from tltool.data.transforms.normalization import (
    Preprocessing,
    encode_image,
    measure_pixels,
    resolve_preprocessing,
)


@pytest.fixture
def data(images, data_config):
    def make(preprocessing, /, crop_mode=None, **changes):
        root = images({"ants": 10, "bees": 10})
        return ImageFolderDataModule(
            root,
            preprocessing=preprocessing,
            data_config=data_config | changes,
            crop_mode=crop_mode,
            num_workers=0,
            batch_size=16,
        )

    return make


def train_images(data):
    return next(iter(data.train_dataloader()))["images"].double()  # one batch, all of them


def test_the_backbones_own_is_the_default(data, data_config):
    resolved = data("backbone").resolved_data_config()
    assert resolved == data_config | {"preprocessing": "backbone"}


def test_dataset_gives_mean_zero_and_standard_deviation_one(data):
    images = train_images(data("dataset"))
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(images.std(dim=(0, 2, 3), correction=0), torch.ones(3).double())


def test_center_gives_mean_zero_and_leaves_the_scale(data):
    images, plain = train_images(data("center")), train_images(data("none"))
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(images.std(dim=(0, 2, 3)), plain.std(dim=(0, 2, 3)))


@pytest.mark.parametrize("crop_mode", get_args(CropMode))
def test_mean_image_gives_mean_zero_at_each_pixel(data, crop_mode):
    images = train_images(data("mean_image", crop_mode))
    assert images.mean(dim=0).abs().max() <= 0.5 / 255 + 1e-6  # the mean image has 8 bits


def test_what_is_padded_is_no_part_of_the_statistics(data):
    padded, squashed = (data("dataset", mode).resolved_data_config() for mode in ("pad", "squash"))
    assert (padded["mean"], padded["std"]) == (squashed["mean"], squashed["std"])


def test_what_is_padded_is_zero_whatever_is_subtracted(data):
    padded = data("dataset", "pad")
    half = 0.5 / 255 / min(padded.resolved_data_config()["std"])  # The fill has 8 bits.
    images = train_images(padded)  # 40 of 48 rows are filled
    assert images[:, :, :2].abs().max() < 1.001 * half


def test_none_gives_the_pixels(data):
    images = train_images(data("none"))
    assert torch.equal((images * 255).round(), (images.float() * 255).double())


def test_only_training_images_are_measured(data):
    before = data("dataset")
    config = before.resolved_data_config()
    for path in before.samples("val").paths:
        Image.new("RGB", (48, 40), "white").save(path)
    assert data("dataset").resolved_data_config() == config


def test_statistics_are_measured_once(data, monkeypatch):
    once = data("dataset")
    config = once.resolved_data_config()
    monkeypatch.setattr("tltool.data.loading.image_dataset.measure_pixels", None)
    assert once.resolved_data_config() == config


def test_augmentation_does_not_change_the_statistics(data):
    plain, augmented = data("dataset"), data("dataset")
    augmented.augmentation = "crop"
    assert augmented.resolved_data_config() == plain.resolved_data_config()


@pytest.mark.parametrize("preprocessing", get_args(Preprocessing))
def test_the_configuration_says_which_it_is(data, preprocessing):
    assert data(preprocessing).resolved_data_config()["preprocessing"] == preprocessing


@pytest.mark.parametrize("preprocessing", get_args(Preprocessing))
def test_a_resolved_configuration_alone_repeats_the_preprocessing(data, noise, preprocessing):
    trained = data(preprocessing)
    stored = trained.resolved_data_config()
    assert torch.equal(ImageTransform(stored)(noise()), trained.transform()(noise()))


def test_the_statistics_of_a_checkpoint_are_not_measured_again(data):
    stored = data("dataset").resolved_data_config() | {"mean": [0.1, 0.2, 0.3]}
    assert data("dataset", **stored).resolved_data_config() == stored


@pytest.mark.parametrize("stored", ["backbone", "dataset"])
def test_another_preprocessing_than_that_of_the_checkpoint_is_refused(data, stored):
    config = data(stored).resolved_data_config()
    with pytest.raises(ValueError, match=f"trained with `preprocessing: {stored}`.* Leave --data"):
        data("none", **config).resolved_data_config()


@pytest.mark.parametrize("preprocessing", get_args(Preprocessing))
def test_a_resolved_configuration_is_plain_data(data, tmp_path, preprocessing):
    torch.save(data(preprocessing).resolved_data_config(), tmp_path / "config.pt")
    loaded = torch.load(tmp_path / "config.pt", weights_only=True)
    assert loaded == data(preprocessing).resolved_data_config()


@pytest.mark.parametrize("preprocessing", get_args(Preprocessing))
def test_unnormalize_gives_back_the_pixels(data, noise, preprocessing):
    config = data(preprocessing).resolved_data_config()
    transform = ImageTransform(config)
    assert torch.equal(unnormalize(transform(noise()), config), transform.pixels(noise()))


def test_one_channel_has_a_mean_image(data):
    config = data("mean_image", input_size=(1, 32, 32), mean=(0.5,), std=(0.2,))
    assert train_images(config).shape == (16, 1, 32, 32)


def test_measured_numbers_equal_numpy():
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 9, 5), dtype=np.uint8)
    found = measure_pixels(torch.from_numpy(images))
    assert found.mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)), rel=1e-12)
    assert found.std == pytest.approx((images / 255).std(axis=(0, 2, 3)), rel=1e-9)
    assert (found.mean_image.numpy() == images.mean(axis=0).round()).all()


def test_the_order_of_the_images_changes_no_bit():
    images = torch.randint(0, 256, (50, 3, 9, 5), dtype=torch.uint8)
    assert measure_pixels(images).std == measure_pixels(images.flip(0)).std


def constant():
    return measure_pixels(torch.full((2, 3, 4, 4), 51, dtype=torch.uint8))


def test_a_constant_channel_cannot_be_scaled(data_config):
    with pytest.raises(ValueError, match=r"Set --data.preprocessing center, or backbone"):
        resolve_preprocessing(data_config, "dataset", constant)


def test_a_constant_channel_can_be_centered(data_config):
    resolved = resolve_preprocessing(data_config, "center", constant)
    assert (resolved["mean"], resolved["std"]) == ([0.2] * 3, [1.0] * 3)


def test_no_images_have_no_mean():
    with pytest.raises(ValueError, match=r"Set --data.preprocessing backbone"):
        measure_pixels([])


def test_a_mean_image_as_text_is_smaller_than_its_pixels_as_numbers():
    smooth = torch.arange(224).byte().expand(3, 224, 224)
    assert len(encode_image(smooth)) < smooth.numel()
