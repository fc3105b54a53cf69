"""Views of test-time augmentation, and their averaged probabilities."""

import numpy as np
import pytest
import torch

from tltool.inference.augmented_views import VIEWS
from tltool.inference.predictor import Predictor
from tltool.inference.source_pixels import source_pixels
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    return ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=3)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def values(prediction):
    return [prediction.probabilities[name] for name in ("0", "1", "2")]


def test_the_flip_is_averaged_as_probabilities(task, image):
    predictor = Predictor(task, tta="flip")
    pixels = source_pixels([image], predictor.transform)
    with torch.no_grad():
        expected = [task(each).softmax(dim=1)[0] for each in (pixels, pixels.flip(-1))]
    assert values(predictor.predict(image)) == pytest.approx(
        torch.stack(expected).mean(dim=0).tolist(), abs=1e-6
    )


def test_another_predictor_of_the_task_keeps_its_own_views(task, image):
    plain = Predictor(task)
    before = plain.predict(image)
    Predictor(task, tta="flip").predict(image)
    assert plain.predict(image) == before


def test_the_views_of_five_crops_are_the_image_and_its_corners():
    image = torch.zeros(1, 1, 32, 32)
    image[..., -4:, -4:] = 1  # The corner below on the right.
    views = VIEWS["five_crops"](image)
    assert [view.shape for view in views] == [image.shape] * 5
    assert torch.equal(views[0], image)
    assert [view.max().item() > 0.9 for view in views[1:]] == [False, False, False, True]


def test_an_unknown_augmentation_is_refused(task):
    with pytest.raises(ValueError, match="Did you mean 'flip'"):
        Predictor(task, tta="flop")
