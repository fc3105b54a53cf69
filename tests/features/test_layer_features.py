"""A data set passes through the backbone once for the features of all layers."""

import logging

import pytest
import torch

from tltool.features.layer_features import extract_layer_features
from tltool.models.backbone import WHOLE, Backbone


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return Backbone("test_resnet", weights="random")


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        {"images": torch.randn(3, 3, 32, 32, generator=generator), "labels": torch.tensor(labels)}
        for labels in ([0, 1, 2], [2, 1, 0])
    ]


def test_features_and_labels_are_in_the_order_of_the_batches(backbone, batches):
    features, labels = extract_layer_features(backbone, batches, description="")
    assert labels.tolist() == [0, 1, 2, 2, 1, 0]
    backbone.eval()
    with torch.inference_mode():
        expected = backbone.features_of_layers(batches[1]["images"])
    torch.testing.assert_close(features["layer2"][3:], expected["layer2"])


def test_the_backbone_is_left_in_training_mode(backbone, batches):
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    extract_layer_features(backbone.train(), batches, description="")
    assert backbone.training
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)


def test_a_model_that_cannot_stop_early_gives_its_last_features_alone(
    backbone, batches, monkeypatch
):
    monkeypatch.delattr(backbone.model, "feature_info")
    features, _ = extract_layer_features(backbone, batches, description="")
    assert list(features) == [WHOLE]


def test_outputs_that_differ_from_the_model_are_not_used(backbone, batches, monkeypatch, caplog):
    forward = backbone.model.forward_head
    monkeypatch.setattr(backbone.model, "forward_head", lambda x: forward(x) + 1)
    monkeypatch.setattr(
        backbone.model, "forward", lambda x: forward(backbone.model.forward_features(x))
    )
    with caplog.at_level(logging.WARNING):
        features, _ = extract_layer_features(backbone, batches, description="")
    assert list(features) == [WHOLE]
    assert "only the whole network is probed" in caplog.text
