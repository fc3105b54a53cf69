import pickle
from typing import get_args

import pytest
import torch
from PIL import Image

from tltool.data.transforms.augmentation import AUGMENTATIONS, Augmentation
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.random_crop import crop_decode_size

GRAY = {"input_size": (1, 32, 32), "mean": (0.4,), "std": (0.2,)}
RANDOM = sorted(set(AUGMENTATIONS) - {"none"})


def test_the_names_in_the_signature_are_those_of_the_table():
    assert list(get_args(Augmentation)) == list(AUGMENTATIONS)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_gives_the_input_size(data_config, noise, augmentation):
    config = data_config | {"input_size": (3, 24, 40)}
    assert ImageTransform(config, augmentation=augmentation)(noise()).shape == (3, 24, 40)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_takes_one_channel(data_config, noise, augmentation):
    transform = ImageTransform(data_config | GRAY, augmentation=augmentation)
    images = torch.stack([transform(noise(i).convert("L")) for i in range(40)])
    assert images.shape == (40, 1, 32, 32)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_keeps_pixels_in_their_range(data_config, noise, augmentation):
    config = data_config | {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    transform = ImageTransform(config, augmentation=augmentation)
    images = torch.stack([transform(noise(i)) for i in range(20)])
    assert 0 <= images.min() < images.max() <= 1


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_can_be_pickled(data_config, augmentation):
    transform = ImageTransform(data_config, augmentation=augmentation)
    assert pickle.loads(pickle.dumps(transform)).decode_size == transform.decode_size


@pytest.mark.parametrize("augmentation", RANDOM)
def test_random_augmentations_say_so(data_config, noise, augmentation):
    transform = ImageTransform(data_config, augmentation=augmentation)
    views = {transform(noise()).numpy().tobytes() for _ in range(30)}
    assert transform.is_random
    assert len(views) > 1


def test_none_is_not_random(data_config):
    assert not ImageTransform(data_config).is_random


def test_flip_gives_the_image_or_its_mirror(data_config, noise):
    plain = ImageTransform(data_config)(noise())
    flip = ImageTransform(data_config, augmentation="flip")
    seen = {
        (torch.equal(out, plain), torch.equal(out, plain.flip(-1)))
        for out in (flip(noise()) for _ in range(30))
    }
    assert seen == {(True, False), (False, True)}


def test_flip_both_gives_four_views(data_config, noise):
    flip = ImageTransform(data_config, augmentation="flip_both")
    assert len({flip(noise()).numpy().tobytes() for _ in range(60)}) == 4


def test_color_jitter_changes_colors_beyond_a_crop(data_config):
    from PIL import Image

    gray = Image.new("RGB", (48, 40), (100, 100, 100))
    crop, jitter = (
        ImageTransform(data_config, augmentation=name) for name in ("crop", "color_jitter")
    )
    assert len({crop(gray).numpy().tobytes() for _ in range(10)}) == 1
    assert len({jitter(gray).numpy().tobytes() for _ in range(10)}) > 5


def test_an_unknown_augmentation_gets_the_nearest_name(data_config):
    with pytest.raises(ValueError, match=r"Unknown augmentation 'flipp'. Did you mean 'flip'"):
        ImageTransform(data_config, augmentation="flipp")


def test_decode_size_keeps_the_smallest_random_crop_sharp(data_config):
    transform = ImageTransform(data_config, augmentation="crop")
    assert transform.decode_size == crop_decode_size(32) == 46


def test_a_random_crop_keeps_at_least_its_share_of_the_area(data_config):
    transform = ImageTransform(data_config, augmentation="crop", crop_area=0.25)
    image = Image.new("RGB", (100, 100))
    sizes = [transform.geometry.window(image)[2:] for _ in range(50)]
    shares = [height * width / 100**2 for height, width in sizes]
    assert 0.24 < min(shares) < 0.5


@pytest.mark.parametrize("area", [0, -1, 1.1])
def test_a_crop_area_out_of_its_range_is_refused(data_config, area):
    with pytest.raises(ValueError, match=r"`crop_area` must be in \(0, 1\]"):
        ImageTransform(data_config, crop_area=area)


def test_another_crop_area_is_another_preprocessing(data_config):
    crops = (
        ImageTransform(data_config, augmentation="crop", crop_area=area) for area in (0.25, 0.5)
    )
    assert len({str(crop.describe()) for crop in crops}) == 2


def test_erasing_fills_a_rectangle_with_the_mean(data_config, noise):
    plain = ImageTransform(data_config)(noise())
    erased = ImageTransform(data_config, random_erasing=1.0)(noise())
    changed = (erased != plain).any(dim=0)
    rows, columns = changed.any(dim=1), changed.any(dim=0)
    assert (erased[:, changed] == 0).all()
    assert changed.sum() == rows.sum() * columns.sum() > 0


def test_erasing_is_random(data_config):
    assert ImageTransform(data_config, random_erasing=0.1).is_random


def test_an_erasing_probability_above_one_is_refused(data_config):
    with pytest.raises(ValueError, match=r"Set --data.random_erasing 0.25"):
        ImageTransform(data_config, random_erasing=25)
