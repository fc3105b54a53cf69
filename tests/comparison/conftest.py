import pytest
import torch


@pytest.fixture
def make_clouds():
    """Return a function that makes clouds of points, one for each class, and their labels."""

    def make(num_images=90, num_features=8, num_classes=3, distance=1.5, seed=0):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(num_images) % num_classes
        centers = distance * torch.randn(num_classes, num_features, generator=generator)
        return centers[labels] + torch.randn(num_images, num_features, generator=generator), labels

    return make


@pytest.fixture
def clouds(make_clouds):
    """90 points in three clouds, and their labels."""
    return make_clouds()
