import pytest
import timm
import torch

# Plain batch norm, layer norm in a transformer, BatchNormAct2d with squeeze-excite, layer norm.
FAMILIES = {
    "test_resnet": {},
    "test_vit": {"img_size": 64},
    "test_efficientnet": {},
    "test_convnext": {},
}


@pytest.fixture
def make_backbone():
    """Make a tiny backbone of random weights."""

    def make(name, **options):
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=0, **FAMILIES.get(name, {}), **options)

    return make


@pytest.fixture(params=FAMILIES)
def backbone(request, make_backbone, images):
    """Each tiny backbone, with running statistics that are not the initial ones."""
    model = make_backbone(request.param)
    model(images)
    return model


@pytest.fixture
def images():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
