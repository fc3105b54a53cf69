"""Batch norms folded into the layers in front, as an edit."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from timm.layers.std_conv import StdConv2d
from timm.models.byobnet import MobileOneBlock
from timm.models.levit import LinearNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.surgery.edits import apply_surgery_
from tltool.surgery.norm_folding import fold_norms


def trained(model, *shape):
    """Give batch norms random affine parameters, and statistics of real passes."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    for _ in range(3):
        model(torch.randn(4, *shape))
    return model.eval()


def num_norms(model):
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


class Tokens(nn.Module):
    """A linear layer on channels last, whose norm wants them in front."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, tokens):
        return self.norm(self.linear(tokens).transpose(1, 2)).transpose(1, 2)


class Scrambled(Tokens):
    """Has as many tokens as channels, and normalizes over the tokens."""

    def forward(self, tokens):
        return self.norm(self.linear(tokens))


class Reused(nn.Module):
    """Uses what its convolution gives a second time, past the batch norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        outputs = self.conv(images)
        return self.norm(outputs) + outputs


class Branched(Reused):
    """Gives it to another layer, too."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, images):
        outputs = self.conv(images)
        return self.norm(outputs) + self.other(outputs)


def conv_norm(conv=nn.Conv2d):
    return nn.Sequential(conv(3, 4, 3, bias=False), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (3, 8)),
        (conv_norm(), (3, 8, 8)),
        (nn.Sequential(nn.Conv3d(3, 4, 3, groups=1), nn.BatchNorm3d(4)), (3, 4, 4, 4)),
        (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False)), (5,)),
        (nn.Sequential(LinearNorm(5, 4)), (6, 5)),
        (Tokens(), (4, 4)),
        (nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4, act_layer=nn.SiLU)), (3, 8, 8)),
    ],
    ids=["1d", "no bias", "3d", "no affine", "flattened", "transposed", "with activation"],
)
def test_a_layer_takes_the_norm_behind_it(model, shape):
    trained_model, inputs = trained(nn.Sequential(model), *shape), torch.randn(4, *shape)
    before = trained_model(inputs)
    report = fold_norms(trained_model, example=inputs[:1])
    assert report.num_folded == 1
    assert num_norms(trained_model) == 0
    assert torch.allclose(trained_model(inputs), before, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (Reused(), (3, 8, 8), "whose output something else takes too"),
        (Branched(), (3, 8, 8), "whose output something else takes too"),
        (Scrambled(), (4, 4), "not right behind"),
        (conv_norm(StdConv2d), (3, 8, 8), "behind a StdConv2d, which computes with another weight"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.BatchNorm2d(4)), (3, 8, 8), "someth"),
    ],
    ids=["used twice", "by a layer", "over tokens", "standardized", "in place"],
)
def test_what_no_layer_can_take_is_refused_with_the_reason(model, shape, reason):
    model = trained(nn.Sequential(model), *shape)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=rf"No batch norm .* can be folded: .*{reason}"):
        fold_norms(model, example=torch.zeros(1, *shape))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_shared_layer_stays_and_the_others_are_folded():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    shared = [conv, nn.BatchNorm2d(3), conv, nn.BatchNorm2d(3)]
    model = trained(nn.Sequential(*shared, *conv_norm()), 3, 8, 8)
    report = fold_norms(model, example=torch.zeros(1, 3, 8, 8))
    assert report.folded == {"5": "4"}
    assert report.kept == {"1": "run several times", "3": "run several times"}


def test_a_block_of_several_branches_is_merged():
    model, images = nn.Sequential(MobileOneBlock(4, 4, 3)), torch.randn(4, 4, 8, 8)
    before = trained(model, 4, 8, 8)(images)
    report = fold_norms(model, example=images)
    assert set(report.merged.values()) == {"0"}
    assert num_norms(model) == 0
    assert not any(module.training for module in model.modules())
    assert torch.allclose(model(images), before, atol=1e-5)


def test_a_block_that_is_not_selected_whole_is_not_merged():
    model = trained(nn.Sequential(MobileOneBlock(4, 4, 3)), 4, 8, 8)
    report = fold_norms(
        model, only=["0.identity", "0.conv_scale*"], example=torch.zeros(1, 4, 8, 8)
    )
    assert not report.merged
    assert report.kept["0.identity"] == "not right behind a linear layer or convolution"


def test_modes_and_what_trains_are_kept():
    model = conv_norm().eval().requires_grad_(False)
    model.append(nn.Dropout().train())
    fold_norms(model, example=torch.zeros(1, 3, 8, 8))
    assert [module.training for module in model] == [False, False, True]
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_held_activation_keeps_its_name(make_backbone, images):
    model = make_backbone("test_efficientnet")
    before = {name for name, _ in model.named_modules() if name.endswith(".act")}
    fold_norms(model, example=images)
    assert before <= {name for name, _ in model.named_modules()}


def test_only_what_a_pattern_names_is_folded(make_backbone, images):
    report = fold_norms(make_backbone("test_resnet"), only="layer1.*", example=images)
    assert {name.split(".")[0] for name in report.folded} == {"layer1"}
    assert set(report.kept.values()) == {"not selected"}


def test_a_pattern_without_a_batch_norm_is_refused(make_backbone, images):
    with pytest.raises(ValueError, match=r"'conv1' matches no batch norm. Their names are: conv1"):
        fold_norms(make_backbone("test_resnet"), only="conv1", example=images)


def test_a_network_without_batch_norm_is_refused(make_backbone, images):
    with pytest.raises(ValueError, match="VisionTransformer has no batch norm below it"):
        apply_surgery_(make_backbone("test_vit"), ["fold_norms"], example=images)


def test_a_norm_behind_a_layer_with_an_adapter_is_refused():
    backbone = Backbone("test_resnet", weights="random", surgery=[{"add_lora": 2}], img_size=32)
    with pytest.raises(ValueError, match="Put `fold_norms` in front of `add_lora`"):
        backbone.edit_(["fold_norms"])


@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet"])
def test_adapters_behind_folded_norms_are_merged_into_what_a_checkpoint_rebuilds(name):
    surgery = ["fold_norms", {"add_lora": 2}]
    backbone = Backbone(name, weights="random", surgery=surgery, img_size=32).merge_adapters_()
    assert rebuild(backbone.description).state_dict().keys() == backbone.state_dict().keys()


def test_a_folded_backbone_is_rebuilt_bit_for_bit():
    backbone = Backbone("test_byobnet", weights="random", surgery=["fold_norms"], img_size=32)
    trained(backbone, 3, 32, 32)
    again = rebuild(backbone.description).eval()
    again.load_state_dict(backbone.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert num_norms(backbone) == 0
    assert torch.equal(again(images), backbone(images))


def test_new_biases_lie_in_the_group_of_their_layer():
    backbone = Backbone("test_resnet", weights="random", surgery=["fold_norms"], img_size=32)
    groups = backbone.layer_groups()
    assert {"model.conv1.0.weight", "model.conv1.0.bias"} <= set(groups["stem"])
    grouped = [name for names in groups.values() for name in names]
    assert sorted(grouped) == sorted(name for name, _ in backbone.named_parameters())


def test_an_early_stop_is_folded_by_what_runs():
    backbone = Backbone("test_resnet", weights="random", stop_at="layer2", surgery=["fold_norms"])
    assert num_norms(backbone) == 0


def test_a_backbone_of_another_type_is_edited():
    backbone = Backbone("test_resnet", weights="random", img_size=32).double()
    backbone.edit_(["fold_norms"])
    assert {weight.dtype for weight in backbone.parameters()} == {torch.float64}
