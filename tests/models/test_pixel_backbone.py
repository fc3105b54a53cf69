"""`Backbone("pixels")`: the image as it is."""

import pytest
import torch

from tltool.data.datamodules.digits import DigitsDataModule
from tltool.features.cache import cached_features
from tltool.models.backbone import Backbone
from tltool.models.weights.loading import create_with_weights


def test_features_are_the_pixels_channel_by_channel():
    backbone = Backbone("pixels", img_size=4)
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(backbone(images), images.flatten(1))
    assert backbone.num_features == 48


def test_auto_has_no_weights_to_look_for():
    assert Backbone("pixels").weights == "random"


def test_images_get_the_size_that_is_asked_for():
    assert Backbone("pixels", img_size=8, in_chans=1).data_config["input_size"] == [1, 8, 8]


def test_pixels_may_be_a_rectangle():
    backbone = Backbone("pixels", img_size=[4, 6])
    assert backbone.data_config["input_size"] == [3, 4, 6]
    assert backbone.num_features == 72


def test_there_is_no_group_to_train():
    assert Backbone("pixels").layer_groups() == {}


def test_pretrained_pixels_are_refused():
    with pytest.raises(ValueError, match="pixels"):
        Backbone("pixels", weights="pretrained")


def test_pixels_with_a_classifier_are_refused():
    with pytest.raises(ValueError, match="no classifier"):
        create_with_weights("pixels", "random", {"num_classes": 3}, ())


def test_another_size_has_features_of_its_own(tmp_path):
    shapes = []
    for size in (4, 8):
        backbone = Backbone("pixels", img_size=size, in_chans=1)
        data = DigitsDataModule(data_config=backbone.data_config)
        shapes.append(
            cached_features(backbone, data.dataset("test"), cache=tmp_path).tensor().shape
        )
    assert shapes == [(269, 16), (269, 64)]
