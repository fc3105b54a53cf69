import shutil

import pytest
import torch

from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.models.backbone import Backbone


@pytest.fixture
def make_backbone():
    """Return a function that makes the same tiny network each time."""

    def make(name="test_resnet", **options):
        torch.manual_seed(0)
        return Backbone(name, weights="random", img_size=32, **options)

    return make


def images_of(root, backbone, *, augmentation="none", **changes):
    """Return a data set of all images of a folder."""
    paths = [str(path) for path in sorted(root.rglob("*.png"))]
    transform = ImageTransform(backbone.data_config | changes, augmentation=augmentation)
    return ImageDataset(Samples(paths, [0] * len(paths)), transform)


@pytest.fixture
def make_images():
    """Return `images_of`."""
    return images_of


@pytest.fixture
def own_images(images, tmp_path):
    """A folder of 24 images that may be changed."""
    return shutil.copytree(images, tmp_path / "images")


@pytest.fixture
def count_images():
    """Return a function that counts the images that a backbone sees from now on."""

    def count(backbone):
        seen = []
        backbone.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        return seen

    return count
