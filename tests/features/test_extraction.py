import pytest
import torch

from tltool._module_state import evaluation_mode
from tltool.features.extraction import extract_features
from tltool.models.backbone import Backbone


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
