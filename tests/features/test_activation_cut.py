"""Networks are cut behind their frozen layers, wherever these run one after the other."""

import pytest
import torch
from torch import nn

from tltool.features.activation_cut import (
    ActivationCut,
    activations_in_front,
    features_behind,
)
from tltool.features.cut_search import find_cut
from tltool.finetuning.freeze import set_trainable_
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.models.layer_groups import layer_groups

NAMES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_nfnet"]


def frozen_but_last(name, num_groups=2, **options):
    """Return a backbone of which the last layer groups train, and images for it."""
    torch.manual_seed(0)
    task = nn.Module()
    task.backbone = Backbone(name, weights="random", **options)
    task.head = Head(task.backbone.num_features, 2)
    groups = layer_groups(task)
    set_trainable_(task, groups, list(groups)[-1 - num_groups :], batch_norm="eval")
    return task.backbone, torch.randn(3, *task.backbone.data_config["input_size"])


@pytest.fixture(params=NAMES)
def cut_network(request):
    backbone, images = frozen_but_last(request.param)
    cut = find_cut(backbone, images)
    assert isinstance(cut, ActivationCut), cut
    return backbone, cut, images


def test_the_features_are_those_of_the_whole_network(cut_network):
    backbone, cut, images = cut_network
    backbone.eval()
    activations = activations_in_front(backbone, cut, images)
    expected = backbone(images)
    torch.testing.assert_close(features_behind(backbone, cut, activations), expected)


def test_the_gradients_are_those_of_the_whole_network(cut_network):
    backbone, cut, images = cut_network
    backbone.eval()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    whole = torch.autograd.grad(backbone(images).square().sum(), trained, allow_unused=True)
    with torch.no_grad():
        activations = activations_in_front(backbone, cut, images)
    behind = features_behind(backbone, cut, activations).square().sum()
    for a, b in zip(whole, torch.autograd.grad(behind, trained, allow_unused=True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_the_network_is_left_as_it_was(cut_network):
    backbone, cut, images = cut_network
    before = {name: module.training for name, module in backbone.named_modules()}
    features_behind(backbone, cut, activations_in_front(backbone, cut, images))
    assert {name: module.training for name, module in backbone.named_modules()} == before
    assert not any("forward" in vars(module) for module in backbone.modules())


def test_layers_in_front_do_not_run_behind_the_cut(cut_network):
    backbone, cut, images = cut_network
    activations = activations_in_front(backbone, cut, images)
    ran = []
    for module in backbone.get_submodule(cut.boundary).children():
        module.register_forward_hook(lambda *args: ran.append(args))
    features_behind(backbone, cut, activations)
    assert not ran


def test_a_network_that_is_frozen_as_a_whole_has_no_cut():
    backbone, images = frozen_but_last("test_resnet", num_groups=0)
    assert (
        find_cut(backbone, images) == "no frozen layer runs in front of the first one that trains"
    )


def test_a_network_that_trains_as_a_whole_has_no_cut():
    backbone, images = frozen_but_last("test_resnet", num_groups=5)
    assert (
        find_cut(backbone, images) == "no frozen layer runs in front of the first one that trains"
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_type_is_cut_at_the_same_place(dtype):
    backbone, _ = frozen_but_last("test_resnet")
    expected = find_cut(backbone)
    assert find_cut(backbone.to(dtype)) == expected


def test_batch_norms_that_adapt_are_behind_the_cut():
    backbone, images = frozen_but_last("test_resnet")
    backbone.model.layer1.train()
    assert find_cut(backbone, images).boundary in {"model.maxpool", "model.act1"}


class ThreeLayers(nn.Module):
    """Three layers one after the other; the last one trains."""

    def __init__(self):
        super().__init__()
        self.early, self.middle, self.late = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, images):
        early = self.early(images)
        again = self.read_again(images, early)
        return (self.late(self.middle(early)) + again).mean(dim=(2, 3))


class ReadsEarly(ThreeLayers):
    def read_again(self, images, early):
        return early


class ReadsEarlyTimesZero(ThreeLayers):
    def read_again(self, images, early):
        return 0 * early


class ReadsImages(ThreeLayers):
    def read_again(self, images, early):
        return images


class FrontReadsWhatTrains(ThreeLayers):
    """The first layer is shifted by a parameter of the last one, which is not called for it."""

    def forward(self, images):
        shift = self.late.bias[:, None, None]
        return self.late(self.middle(self.early(images) + shift)).mean(dim=(2, 3))


class HoldsAList(ThreeLayers):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([self.early, self.middle])
        del self.early, self.middle

    def forward(self, images):
        for layer in self.layers:
            images = layer(images)
        return self.late(images).mean(dim=(2, 3))


class GivesATuple(ThreeLayers):
    def __init__(self):
        super().__init__()
        self.early = TupleLayer()

    def forward(self, images):
        early, size = self.early(images)
        return self.late(self.middle(early)).mean(dim=(2, 3)) * size[0]


class TupleLayer(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 1)

    def forward(self, images):
        return super().forward(images), images.shape[-2:]


def cut_of(network):
    """Return the cut of a network of which only the layer ``late`` trains."""
    backbone, images = frozen_but_last("test_resnet")
    backbone.model = network().eval().requires_grad_(False)
    backbone.model.late.requires_grad_(True)
    return find_cut(backbone, images)


@pytest.mark.parametrize(
    ("network", "boundary"),
    [
        (ReadsEarly, "model.early"),
        (ReadsEarlyTimesZero, "model.early"),
        (FrontReadsWhatTrains, "model.early"),
        (HoldsAList, "model.layers.1"),
        (GivesATuple, "model.middle"),
    ],
)
def test_the_cut_lies_where_one_output_is_all_that_is_read_behind(network, boundary):
    assert cut_of(network).boundary == boundary


def test_a_network_that_reads_its_images_again_has_no_cut():
    assert cut_of(ReadsImages) == "behind model.middle, layers behind it read more than that"


@pytest.mark.parametrize(
    ("option", "reason"),
    [("compile", "compiled"), ("grad_checkpointing", "gradient checkpointing")],
)
def test_a_network_that_runs_otherwise_in_training_is_not_cut(option, reason):
    backbone, images = frozen_but_last("test_vit", **{option: True})
    assert reason in find_cut(backbone, images)
