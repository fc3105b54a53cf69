import logging

import pytest
import torch

from tltool._module_state import evaluation_mode
from tltool.features.extraction import extract_features, extract_layer_features
from tltool.models.backbone import WHOLE, Backbone


def make_batches(sizes):
    generator = torch.Generator().manual_seed(0)
    return [
        {"images": torch.randn(n, 3, 32, 32, generator=generator), "labels": torch.full((n,), n)}
        for n in sizes
    ]


def test_features_come_in_the_order_of_the_batches():
    backbone = Backbone("test_resnet", weights="random").eval()
    batches = make_batches([3, 2])
    features, labels = extract_features(backbone, batches, description="")
    torch.testing.assert_close(features[3:], backbone(batches[1]["images"]).detach())
    assert labels.tolist() == [3, 3, 3, 2, 2]


def test_a_training_backbone_neither_drifts_nor_loses_its_mode():
    backbone = Backbone("test_resnet", weights="random").train()
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    extract_features(backbone, make_batches([4]), description="")
    torch.testing.assert_close(dict(backbone.named_buffers()), before, rtol=0, atol=0)
    assert backbone.training


def test_each_module_has_its_mode_again_after_an_error():
    network = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with pytest.raises(ZeroDivisionError), evaluation_mode(network):
        1 / 0  # noqa: B018
    assert [module.training for module in network.modules()] == [True, True, False]


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
