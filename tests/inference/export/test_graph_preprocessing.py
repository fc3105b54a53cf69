"""Preprocessing in a graph, and by the runner: the same pixels as those of training."""

import numpy as np
import pytest
import torch
from PIL import Image

from tltool.data.transforms.image_transform import ImageTransform
from tltool.inference.export.graph_preprocessing import GraphPreprocessing, Normalization
from tltool.inference.export.runner_crop import cropped

SIZES = [(48, 60), (20, 25), (32, 32), (301, 200), (7, 90), (500, 100), (33, 20)]
CONFIGS = [
    ("center", (3, 32, 32), "bicubic", 0.875),
    ("center", (3, 24, 40), "bilinear", 1.0),
    ("squash", (1, 32, 32), "bicubic", 0.9),
    ("border", (3, 32, 32), "bilinear", 1.0),
    ("border", (3, 24, 40), "bicubic", 0.875),
]


def config_of(crop_mode, input_size, interpolation, crop_pct):
    channels = input_size[0]
    config = {"mean": (0.4, 0.5, 0.6)[:channels], "std": (0.2, 0.3, 0.25)[:channels]}
    config |= {"crop_mode": crop_mode, "input_size": input_size, "crop_pct": crop_pct}
    return config | {"interpolation": interpolation}


def noise(height, width, channels):
    """An image on which each difference shows."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values, Image.fromarray(values if channels > 1 else values[..., 0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", CONFIGS)
def test_a_graph_gives_the_pixels_of_training_to_the_last_bit(config, size):
    config = config_of(*config)
    values, image = noise(*size, config["input_size"][0])
    found = GraphPreprocessing(config)(torch.from_numpy(np.stack([values, values])))
    assert torch.equal(found[1], ImageTransform(config)(image))


@pytest.mark.parametrize("size", [*SIZES, (1, 20000)])
@pytest.mark.parametrize("config", [*CONFIGS, ("center", (3, 32, 32), "lanczos", 1.1)])
def test_the_runner_gives_the_pixels_of_training_to_the_last_bit(config, size):
    config = config_of(*config)
    _, image = noise(*size, config["input_size"][0])
    crop = np.asarray(cropped(image, config)).reshape(1, *config["input_size"][1:], -1)
    found = Normalization(config)(torch.from_numpy(crop.copy()))[0]
    assert torch.equal(found, ImageTransform(config)(image))


@pytest.mark.parametrize(("interpolation", "crop_pct"), [("lanczos", 1.0), ("bicubic", 1.1)])
def test_a_resize_that_a_graph_cannot_do_names_the_way_out(interpolation, crop_pct):
    config = config_of("center", (3, 32, 32), interpolation, crop_pct)
    with pytest.raises(ValueError, match="Set --resize runner"):
        GraphPreprocessing(config)
