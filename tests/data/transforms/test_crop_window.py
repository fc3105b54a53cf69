import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from tltool.data.transforms import crop_geometry
from tltool.data.transforms.image_transform import ImageTransform

STRIPS = [(1, 20000), (20000, 1), (3, 5000), (5000, 2)]


@pytest.fixture
def resized(monkeypatch):
    """The sizes that Pillow is asked for."""
    sizes, resize = [], Image.Image.resize

    def recording(image, size, *args, **options):
        sizes.append(size)
        return resize(image, size, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", recording)
    return sizes


def smooth(width, height):
    """An image without noise, on which rounding is all that may differ."""
    across, down = np.linspace(20, 230, width), np.linspace(10, 200, height)
    red, green = np.meshgrid(across, down)
    return Image.fromarray(np.stack([red, green, (red + green) / 2], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", STRIPS)
@pytest.mark.parametrize("input_size", [(3, 32, 32), (3, 24, 40)])
def test_no_image_in_between_is_large(data_config, resized, crop_mode, size, input_size):
    config = data_config | {"crop_mode": crop_mode, "input_size": input_size}
    assert ImageTransform(config)(Image.new("RGB", size)).shape == input_size
    assert all(width * height <= 16 * 37 * 46 for width, height in resized)


@pytest.mark.parametrize("augmentation", ["none", "flip", "crop", "trivial_augment"])
@pytest.mark.parametrize("size", STRIPS)
def test_no_image_in_between_is_large_in_training(data_config, resized, augmentation, size):
    transform = ImageTransform(data_config, augmentation=augmentation)
    assert transform(Image.new("RGB", size)).shape == (3, 32, 32)
    assert all(width * height <= 16 * 36 * 36 for width, height in resized)


@pytest.mark.parametrize("crop_mode", ["center", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(20, 900), (900, 20), (70, 3000), (12, 400), (401, 13)])
@pytest.mark.parametrize("input_size", [(3, 32, 32), (3, 24, 40)])
def test_the_window_equals_timm_within_rounding(
    data_config, monkeypatch, crop_mode, interpolation, size, input_size
):
    monkeypatch.setattr(crop_geometry, "MOST_PIXELS", 0)  # Always the window.
    config = data_config | {
        "crop_mode": crop_mode,
        "interpolation": interpolation,
        "input_size": input_size,
    }
    image = smooth(*size)
    expected = create_transform(**config, is_training=False, normalize=False)(image)
    difference = ImageTransform(config).pixels(image).int() - expected.int()
    assert difference.abs().max() <= 2


@pytest.mark.parametrize("size", [(16, 230), (300, 20), (40, 40)])
def test_an_oblong_image_is_still_resized_by_timm(data_config, noise, size):
    image = noise(0, *size)
    expected = create_transform(**data_config, is_training=False)(image)
    assert torch.equal(ImageTransform(data_config)(image), expected)


def test_a_strip_too_thin_for_the_border_mode_is_shown(data_config):
    config = data_config | {"crop_mode": "border", "crop_pct": 1.0}
    pixels = ImageTransform(config).pixels(Image.new("RGB", (1, 20000), (9, 9, 9)))
    assert (pixels[:, :, 15:17] == 9).all(dim=(0, 1)).any()
