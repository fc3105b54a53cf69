import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from tltool.data.transforms.crop_mode import resolve_crop_mode
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.random_crop import RandomCrop

LONG = Image.new("RGB", (300, 100))


def shapes(crop, image):
    """The width by height of many parts of an image."""
    windows = [crop.window(image) for _ in range(100)]
    return torch.tensor([width / height for _, _, height, width in windows])


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
@pytest.mark.parametrize("input_size", [(3, 32, 32), (3, 24, 40)])
def test_the_part_is_resized_to_the_input_as_by_torchvision(
    data_config, noise, monkeypatch, crop_mode, input_size
):
    crop = RandomCrop(data_config | {"crop_mode": crop_mode, "input_size": input_size})
    window = crop.window(noise())
    monkeypatch.setattr(crop, "window", lambda image: window)
    bicubic = InterpolationMode.BICUBIC
    expected = functional.resized_crop(noise(), *window, input_size[1:], interpolation=bicubic)
    assert torch.equal(crop(noise()), functional.pil_to_tensor(expected))


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (40, 40), (200, 3)])
def test_with_padding_the_part_fills_what_evaluation_fills(data_config, size):
    config = resolve_crop_mode(data_config, "pad")
    image = Image.new("RGB", size, "white")
    whole = ImageTransform(config).pixels(image)
    crop = RandomCrop(config)
    assert all(torch.equal(crop(image), whole) for _ in range(10))


def test_with_padding_the_part_is_what_the_window_holds(data_config, noise, monkeypatch):
    crop = RandomCrop(data_config | {"crop_mode": "border"})
    monkeypatch.setattr(crop, "window", lambda image: (10, 5, 20, 30))
    pixels = crop(noise(0, 64, 32))[:, 8:24]  # Half as high as wide, as the image is
    part = noise(0, 64, 32).crop((5, 10, 35, 30)).resize((32, 16), Image.Resampling.BICUBIC)
    assert torch.equal(pixels, functional.pil_to_tensor(part))


def test_a_part_to_be_stretched_has_the_shape_of_the_image(data_config):
    found = shapes(RandomCrop(data_config | {"crop_mode": "squash"}), LONG)
    assert 3 * 3 / 4 - 0.1 < found.min() < 2.7
    assert 3.3 < found.max() < 3 * 4 / 3 + 0.1


def test_a_part_of_the_center_mode_has_the_shape_of_the_input(data_config):
    crop = RandomCrop(data_config | {"input_size": (3, 100, 200)}, area=0.1)
    found = shapes(crop, LONG)
    assert 2 * 3 / 4 - 0.1 < found.min() < 1.7
    assert 2.3 < found.max() < 2 * 4 / 3 + 0.1


def test_parts_of_a_long_image_lie_anywhere(data_config):
    lefts = {RandomCrop(data_config).window(LONG)[1] for _ in range(30)}
    assert len(lefts) > 5
    assert max(lefts) > 120


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_the_whole_image_is_cut_out_where_all_of_it_must_be(data_config, crop_mode):
    crop = RandomCrop(data_config | {"crop_mode": crop_mode}, area=1.0)
    assert crop.window(Image.new("RGB", (50, 50))) == (0, 0, 50, 50)
