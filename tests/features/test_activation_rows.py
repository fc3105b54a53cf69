"""Features by way of activations are those of the images that the activations are of."""

import pytest
import torch
from PIL import Image

from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.features.activation_cut import LayersBehind
from tltool.features.activation_rows import ActivationImages
from tltool.features.cache import cached_features
from tltool.features.cut_search import find_cut
from tltool.features.frozen_front import FrozenFront
from tltool.models.backbone import Backbone


@pytest.fixture
def kept(tmp_path):
    """A network, two image files, what keeps their activations, and options of the cache."""
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", weights="random", img_size=32).eval()
    backbone.requires_grad_(False).model.layer4.requires_grad_(True)
    paths = [str(tmp_path / name) for name in ("dark.png", "light.png")]
    for path, color in zip(paths, ("navy", "ivory"), strict=True):
        Image.new("RGB", (32, 32), color).save(path)
    images = ImageDataset(Samples(paths, [0, 1]), ImageTransform(backbone.data_config))
    front = FrozenFront(backbone, find_cut(backbone), "fp32")
    options = {"cache": tmp_path / "cache"}
    rows = ActivationImages(images, cached_features(front, images, **options))
    return backbone, rows, options | {"network": LayersBehind(backbone, front.cut)}


def test_an_image_that_is_replaced_behind_its_activations_is_refused(kept):
    backbone, images, options = kept
    Image.new("RGB", (32, 32), "red").save(images.samples.paths[1])
    with pytest.raises(ValueError, match=r"light.png' was changed .* Start again"):
        cached_features(backbone, images, **options)


def test_images_that_change_places_keep_their_features(kept):
    backbone, images, options = kept
    expected = cached_features(backbone, images, **options).tensor()
    images.samples.paths.reverse()
    assert torch.equal(cached_features(backbone, images, **options).tensor(), expected.flip(0))
