import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from timm.data import create_transform
from torchvision.transforms.functional import pil_to_tensor

from tltool.data.transforms.crop_mode import resolve_crop_mode, share_seen
from tltool.data.transforms.image_transform import ImageTransform

RED = torch.tensor([230, 20, 10])
SIZES = [(96, 48), (48, 96), (40, 40), (33, 70)]
BICUBIC = Image.Resampling.BICUBIC


def with_objects_at_the_ends(width, height):
    """A gray image with a red square in two of its corners."""
    image = Image.new("RGB", (width, height), (120, 120, 120))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 7, 7), fill=tuple(RED.tolist()))
    draw.rectangle((width - 8, height - 8, width, height), fill=tuple(RED.tolist()))
    return image


def num_red(pixels, side):
    """The number of red pixels in one half."""
    half = pixels[:, :, :16] if side == "left" else pixels[:, :, 16:]
    return int(((half - RED[:, None, None]).abs() < 40).all(dim=0).sum())


@pytest.mark.parametrize("crop_mode", ["squash", "pad"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("size", SIZES)
def test_an_object_at_the_end_of_an_image_is_kept(data_config, crop_mode, side, size):
    transform = ImageTransform(resolve_crop_mode(data_config, crop_mode))
    assert num_red(transform.pixels(with_objects_at_the_ends(*size)), side) >= 4


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_center_crop_cuts_it_off(data_config, side):
    pixels = ImageTransform(data_config).pixels(with_objects_at_the_ends(96, 48))
    assert num_red(pixels, side) == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("crop_mode", "timms"), [("squash", "squash"), ("pad", "border")])
@pytest.mark.parametrize("input_size", [(3, 32, 32), (3, 24, 40)])
def test_it_is_timms_own_without_a_crop(data_config, noise, crop_mode, timms, size, input_size):
    config = data_config | {"input_size": input_size}
    expected = create_transform(**config | {"crop_mode": timms, "crop_pct": 1.0})(noise(0, *size))
    found = ImageTransform(resolve_crop_mode(config, crop_mode))(noise(0, *size))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("size", SIZES)
def test_squash_is_a_resize_of_every_pixel(data_config, noise, size):
    transform = ImageTransform(resolve_crop_mode(data_config, "squash"))
    resized = noise(0, *size).resize((32, 32), BICUBIC)
    assert torch.equal(transform.pixels(noise(0, *size)), pil_to_tensor(resized))


def test_pad_is_the_resized_image_on_the_mean_color(data_config, noise):
    expected = Image.new("RGB", (32, 32), (128, 102, 76))  # 255 times the mean
    expected.paste(noise(0, 96, 48).resize((32, 16), BICUBIC), (0, 8))
    transform = ImageTransform(resolve_crop_mode(data_config, "pad"))
    assert torch.equal(transform.pixels(noise(0, 96, 48)), pil_to_tensor(expected))


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_what_is_padded_is_zero_after_the_normalization(data_config, noise, augmentation):
    config = resolve_crop_mode(data_config, "pad")
    image = ImageTransform(config, augmentation=augmentation)(noise(0, 96, 48))
    half_a_level = 0.501 / 255 / min(data_config["std"])  # Pixels are whole numbers.
    assert image[:, :8].abs().max() <= half_a_level
    assert image[:, -8:].abs().max() <= half_a_level
    assert image[:, 8:-8].abs().mean() > 10 * half_a_level


def test_timms_name_means_the_same(data_config):
    assert resolve_crop_mode(data_config, "border") == resolve_crop_mode(data_config, "pad")


def test_center_keeps_the_crop_of_the_weights(data_config):
    squashing = data_config | {"crop_mode": "squash"}
    assert resolve_crop_mode(squashing, "center") == data_config


def test_nothing_is_changed_unasked(data_config):
    own = data_config | {"crop_mode": "squash", "crop_pct": 0.95}
    assert resolve_crop_mode(own, None) == own


def test_a_checkpoint_keeps_its_own(data_config):
    trained = data_config | {"crop_mode": "squash", "crop_pct": 0.95, "preprocessing": "backbone"}
    assert resolve_crop_mode(trained, "squash") == trained


def test_another_one_than_that_of_a_checkpoint_is_refused(data_config):
    trained = data_config | {"crop_mode": "border", "preprocessing": "backbone"}
    with pytest.raises(ValueError, match=r"`crop_mode: pad`.* Leave --data.crop_mode out"):
        resolve_crop_mode(trained, "center")


def test_an_unknown_crop_mode_gets_the_nearest_name(data_config):
    with pytest.raises(ValueError, match=r"Unknown crop mode 'squish'. Did you mean 'squash'"):
        resolve_crop_mode(data_config, "squish")


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("input_size", [(3, 320, 320), (3, 160, 320), (3, 320, 160)])
@pytest.mark.parametrize("aspect", [1, 3, 1 / 3])
def test_the_share_that_is_seen_is_that_of_the_pixels(data_config, crop_mode, input_size, aspect):
    """Of an image that is bright from left to right, and then from top to bottom."""
    config = data_config | {"input_size": input_size, "crop_mode": crop_mode, "crop_pct": 0.8}
    config |= {"mean": (0.5,) * 3}  # Between the extremes
    ramp = Image.linear_gradient("L").convert("RGB")
    size = (round(512 * aspect**0.5), round(512 / aspect**0.5))
    spans = [
        float(np.ptp(ImageTransform(config).pixels(each.resize(size)).numpy())) / 255
        for each in (ramp, ramp.rotate(90))
    ]
    assert share_seen(config, aspect) == pytest.approx(spans[0] * spans[1], abs=0.03)


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_each_crop_mode_has_a_description_of_its_own(data_config, augmentation):
    configs = [resolve_crop_mode(data_config, mode) for mode in ("center", "squash", "pad")]
    described = {str(ImageTransform(c, augmentation=augmentation).describe()) for c in configs}
    assert len(described) == 3
