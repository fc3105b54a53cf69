import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from tltool.data.transforms.image_transform import ImageTransform, check_data_config, unnormalize

CROP_MODES = ["center", "squash", "border"]


@pytest.mark.parametrize("crop_mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("size", [(48, 40), (31, 90), (20, 20)])
def test_evaluation_equals_timm_to_the_last_bit(
    data_config, noise, crop_mode, interpolation, crop_pct, size
):
    config = data_config | {
        "crop_mode": crop_mode,
        "interpolation": interpolation,
        "crop_pct": crop_pct,
    }
    image = noise(0, *size)
    expected = create_transform(**config, is_training=False)(image)
    assert torch.equal(ImageTransform(config)(image), expected)


@pytest.mark.parametrize("crop_mode", CROP_MODES)
def test_evaluation_equals_timm_on_an_oblong_input(data_config, noise, crop_mode):
    config = data_config | {"crop_mode": crop_mode, "input_size": (3, 24, 40)}
    expected = create_transform(**config, is_training=False)(noise())
    assert torch.equal(ImageTransform(config)(noise()), expected)


@pytest.mark.parametrize("crop_mode", CROP_MODES)
def test_one_channel_equals_timm(data_config, noise, crop_mode):
    config = data_config | {
        "input_size": (1, 32, 32),
        "mean": (0.4,),
        "std": (0.2,),
        "crop_mode": crop_mode,
    }
    image = noise().convert("L")
    expected = create_transform(**config, is_training=False)(image)
    assert torch.equal(ImageTransform(config)(image), expected)
    assert ImageTransform(config).mode == "L"


def test_decode_size_is_the_edge_before_the_crop(data_config):
    assert ImageTransform(data_config | {"crop_pct": 0.5}).decode_size == 64


def test_the_range_of_values_is_part_of_the_description(data_config):
    described = ImageTransform(data_config | {"value_range": [0, 4095]}).describe()
    assert described["value_range"] == [0, 4095]
    assert "value_range" not in ImageTransform(data_config).describe()


def test_unnormalize_gives_back_the_pixels(data_config):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    config = data_config | {"crop_pct": 1.0}
    images = ImageTransform(config)(Image.fromarray(pixels))[None]
    assert torch.equal(unnormalize(images, config)[0], torch.tensor(pixels).permute(2, 0, 1))


def test_a_configuration_without_a_mean_is_refused(data_config):
    del data_config["mean"]
    with pytest.raises(ValueError, match=r"lacks mean. Pass the whole configuration"):
        check_data_config(data_config)


def test_four_channels_are_refused(data_config):
    with pytest.raises(ValueError, match=r"set --model.backbone.in_chans to 3 or 1"):
        check_data_config(data_config | {"input_size": (4, 32, 32)})


def test_a_mean_of_another_length_is_refused(data_config):
    with pytest.raises(ValueError, match="3 channels in `input_size`, 1 values in `mean` and 3"):
        check_data_config(data_config | {"mean": (0.5,)})
