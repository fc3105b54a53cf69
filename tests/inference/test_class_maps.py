"""Grad-CAM: what speaks for a class in an image."""

import numpy as np
import pytest
import torch
from PIL import Image

from tltool.inference.class_maps import class_maps
from tltool.inference.predictor import Predictor
from tltool.models.backbone import Backbone
from tltool.models.feature_map import last_feature_map
from tltool.training.image_task import ImageTask


def predictor_of(name, **options):
    torch.manual_seed(0)
    backbone = Backbone(name, weights="random")
    return Predictor(ImageTask(backbone, num_classes=2, class_names=["ants", "bees"]), **options)


@pytest.fixture
def half_white():
    pixels = np.zeros((160, 160, 3), np.uint8)
    pixels[:, 80:] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_a_map_has_the_size_of_what_the_network_sees(name, half_white):
    (found,) = class_maps(predictor_of(name), [half_white])
    assert found.values.shape == found.image.size[::-1] == (160, 160)
    assert (found.values.min(), found.values.max()) == pytest.approx((0, 1), abs=1e-3)


def test_the_map_is_where_the_features_speak_for_the_class(half_white):
    predictor = predictor_of("test_resnet")
    place = last_feature_map(predictor.task.backbone)

    def keep_right_half(module, inputs, output):
        mask = torch.zeros_like(output)
        mask[..., output.shape[-1] // 2 :] = 1
        return mask + 0 * output

    place.module.register_forward_hook(keep_right_half)
    with torch.no_grad():
        predictor.task.head.output.weight[1] = 1
    (found,) = class_maps(predictor, [half_white], ["bees"])
    assert found.values[:, 90:].mean() > 0.9
    assert found.values[:, :40].mean() < 0.1


def test_the_map_is_of_the_class_that_the_averaged_views_predict(half_white):
    predictor = predictor_of("test_resnet", tta="flip")
    image = predictor.transform(half_white)[None]
    with torch.no_grad():
        plain, flipped = (predictor.task.backbone(each)[0] for each in (image, image.flip(-1)))
        output = predictor.task.head.output
        output.weight[:] = torch.stack([torch.zeros_like(plain), plain - flipped])
        output.bias[:] = torch.tensor([0, 1e-3 - output.weight[1] @ plain])
        assert predictor.task(image).argmax() == 1
    (found,) = class_maps(predictor, [half_white])
    assert found.label == predictor.predict(half_white).label == "ants"


def test_tokens_of_a_transformer_are_arranged_as_patches():
    backbone = Backbone("test_vit", weights="random")
    place = last_feature_map(backbone)
    height, width = backbone.model.patch_embed.grid_size
    prefix = backbone.model.num_prefix_tokens
    tokens = torch.arange(prefix + height * width).float()[None, :, None]
    rows = place.arrange(tokens)[0, 0]
    assert rows[1, 0] == prefix + width


def test_patches_that_no_class_token_stands_in_front_of_are_arranged_from_the_first_on():
    small = {"depth": 1, "embed_dim": 48, "num_heads": 2}
    backbone = Backbone("cait_xxs24_224", weights="random", img_size=64, model_args=small)
    rows = last_feature_map(backbone).arrange(torch.arange(16.0)[None, :, None])[0, 0]
    assert rows.flatten().tolist() == list(range(16))


# NesT says nothing of the order, and SelecSLS has fewer channels there than features.
@pytest.mark.parametrize("name", ["nest_tiny", "test_mambaout", "selecsls42"])
def test_a_map_is_arranged_with_its_channels_in_front_of_the_places(name):
    backbone = Backbone(name, weights="random", img_size=64).eval()
    place, outputs = last_feature_map(backbone), []
    place.module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    backbone(torch.zeros(1, 3, 64, 64))
    _, channels, height, width = place.arrange(outputs[0]).shape
    assert height == width < channels


def test_layers_of_an_unknown_order_of_places_are_refused():
    with pytest.raises(ValueError, match=r"cannot be shown.*convolutional networks, ViT and Swin"):
        last_feature_map(Backbone("pixels", weights="random", img_size=8))
