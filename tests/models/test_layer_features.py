"""One pass gives each layer's features as `stop_at` would."""

import pytest
import torch

from tltool.models.backbone import WHOLE, Backbone
from tltool.models.intermediate_layers import pooled


def make(name, **options):
    torch.manual_seed(0)
    return Backbone(name, weights="random", **options).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
@torch.inference_mode()
def test_the_features_of_a_layer_are_those_of_a_backbone_that_stops_there(name, images):
    whole = make(name)
    stop = whole.stops[-2]
    expected = make(name, stop_at=stop)(images)
    torch.testing.assert_close(whole.features_of_layers(images)[stop], expected)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
@torch.inference_mode()
def test_the_last_features_are_those_of_the_whole_network(name, images):
    backbone = make(name)
    features = backbone.features_of_layers(images)
    assert list(features) == [*backbone.stops, WHOLE]
    torch.testing.assert_close(features[WHOLE], backbone(images))


@torch.inference_mode()
def test_a_backbone_that_stops_early_has_no_layers_behind(images):
    backbone = make("test_resnet", stop_at="layer2")
    features = backbone.features_of_layers(images)
    assert list(features) == ["act1", "layer1", "layer2", WHOLE]
    torch.testing.assert_close(features[WHOLE], backbone(images))


def test_a_network_that_reads_its_grid_off_values_stops_early():
    with torch.device("meta"):
        backbone = Backbone("gemma4_vit_167m", "random", stop_at="blocks.0")
    assert backbone.num_features == 768


def test_tokens_are_pooled_as_their_grid_is():
    grid = torch.randn(2, 8, 3, 5)  # (B, C, H, W)
    torch.testing.assert_close(pooled(grid.flatten(2).transpose(1, 2)), pooled(grid))
