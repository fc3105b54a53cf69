"""Batch norms folded into convolutions."""

import pytest
import torch
from torch import nn

from tltool.features.extraction import frozen_pass
from tltool.features.folding import fold_batch_norms
from tltool.models.backbone import Backbone


def trained(network):
    """Give batch norms statistics as training leaves them, so that folding changes something."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def num_norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_byobnet"])
def test_a_folded_backbone_gives_the_same_features(name):
    backbone = trained(Backbone(name, weights="random", img_size=32))
    images = torch.randn(4, 3, 32, 32)
    folded = fold_batch_norms(backbone, images[:2])
    assert num_norms(folded) < num_norms(backbone)
    with torch.inference_mode():
        assert torch.allclose(folded(images), backbone(images), rtol=1e-3, atol=1e-5)


def test_adapters_are_part_of_the_folded_weights():
    backbone = trained(Backbone("test_resnet", weights="random", img_size=32))
    backbone.edit_([{"add_lora": {"rank": 4}}])
    for name, parameter in backbone.named_parameters():
        if name.endswith("lora_b"):
            nn.init.normal_(parameter, std=0.1)
    images = torch.randn(4, 3, 32, 32)
    folded = fold_batch_norms(backbone, images[:2])
    assert num_norms(folded) == 0
    with torch.inference_mode():
        assert torch.allclose(folded(images), backbone(images), rtol=1e-3, atol=1e-5)


def test_the_backbone_stays_as_it_is():
    backbone = trained(Backbone("test_resnet", weights="random", img_size=32))
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    fold_batch_norms(backbone, torch.randn(2, 3, 32, 32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert not any(module._forward_hooks for module in backbone.modules())


class Reused(nn.Module):
    """Uses what its convolution gives a second time, past the batch norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        outputs = self.conv(images)
        return (self.norm(outputs) + outputs).mean(dim=(2, 3))


def test_a_network_that_cannot_be_folded_is_left_alone():
    assert fold_batch_norms(trained(Reused()), torch.randn(2, 3, 8, 8)) is None


def test_a_shared_convolution_is_not_folded():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    network = nn.Sequential(conv, nn.BatchNorm2d(3), conv, nn.BatchNorm2d(3))
    assert fold_batch_norms(trained(network), torch.randn(2, 3, 8, 8)) is None


def test_a_network_without_batch_norm_is_not_copied():
    backbone = Backbone("test_vit", weights="random").eval()
    assert fold_batch_norms(backbone, torch.randn(2, 3, 160, 160)) is None


def test_a_frozen_pass_runs_the_folded_network():
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    runs = []
    network[1].register_forward_hook(lambda *args: runs.append(1))
    with frozen_pass(network) as features_of:
        first = features_of(torch.randn(3, 3, 8, 8))
        num_runs = len(runs)
        features_of(torch.randn(3, 3, 8, 8))
    assert first.shape == (3, 4, 6, 6)
    assert len(runs) == num_runs


def test_a_frozen_pass_of_reduced_precision_does_not_fold():
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    runs = []
    network[1].register_forward_hook(lambda *args: runs.append(1))
    with frozen_pass(network, "bf16-mixed") as features_of:
        features_of(torch.randn(3, 3, 8, 8))
        features_of(torch.randn(3, 3, 8, 8))
    assert len(runs) == 2
