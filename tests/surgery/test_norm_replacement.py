"""Norms replaced by group or layer norms, and by a fixed scale and shift."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d, LayerNorm, LayerNorm2d
from torch import nn

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.surgery.calibration import calibrate_
from tltool.surgery.channel_layout import find_channels
from tltool.surgery.edits import apply_surgery_
from tltool.surgery.matched_norm import MatchedNorm
from tltool.surgery.norm_replacement import remove_norms, replace_norms

EXAMPLE = torch.zeros(1, 3, 8, 8)


class LastChannels(nn.Module):
    """A norm on channels that stand last."""

    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), norm

    def forward(self, images):
        return self.norm(self.conv(images).permute(0, 2, 3, 1))


def conv_norm(num=16, norm=nn.BatchNorm2d):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, num, 3), norm(num), nn.Identity())


def trained(model, *shape):
    """Give norms random affine parameters, and batch norms statistics of real passes."""
    for module in model.modules():
        if "Norm" in type(module).__name__:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    for _ in range(3):
        model(2 * torch.randn(8, *shape) + 1)
    return model.eval()


def moments(model, images, dim=1):
    outputs = model(images).transpose(dim, 0).flatten(1)
    return torch.cat([outputs.mean(dim=1), outputs.std(dim=1)])


@pytest.mark.parametrize(
    ("to", "model", "dim"),
    [
        ("group", conv_norm(), 1),
        ("layer", conv_norm(), 1),
        ("group", conv_norm(norm=LayerNorm2d), 1),
        ("layer", conv_norm(norm=lambda num: nn.GroupNorm(2, num)), 1),
        ("group", nn.Sequential(LastChannels(nn.LayerNorm(8))), -1),
        ("layer", nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8)), 1),
    ],
    ids=["batch", "batch to layer", "layer 2d", "group", "channels last", "features"],
)
def test_each_channel_keeps_its_mean_and_deviation(to, model, dim):
    model, images = trained(copy.deepcopy(model), 3, 8, 8), torch.randn(32, 3, 8, 8)
    before = moments(model, images, dim)
    apply_surgery_(model, [{"replace_norms": to}], example=EXAMPLE)
    assert any(isinstance(module, MatchedNorm) for module in model.modules())
    assert torch.allclose(moments(calibrate_(model, images), images, dim), before, atol=1e-4)


def test_a_held_activation_stays_behind_the_norm_under_its_name():
    norm = BatchNormAct2d(16, act_layer=nn.SiLU)
    model = nn.Sequential(conv_norm()[0], norm).eval()
    replace_norms(model, "group", example=EXAMPLE)
    images = torch.randn(8, 3, 8, 8)
    calibrate_(model, images)
    assert model[1].act is norm.act
    assert torch.equal(model(images), norm.act(model[1].norm(model[0](images))))


@pytest.mark.parametrize(
    ("num", "num_groups", "expected"),
    [(16, None, 2), (96, None, 8), (100, None, 5), (3, None, 1), (30, 4, 3), (7, 32, 7)],
)
def test_any_number_of_channels_gets_groups_that_divide_it(num, num_groups, expected):
    model = conv_norm(num)
    replace_norms(model, "group", num_groups=num_groups, example=EXAMPLE)
    assert model[1].num_groups == expected


@pytest.mark.parametrize(("to", "num"), [("group", 8), ("layer", 1)])
def test_groups_of_one_number_are_refused(to, num):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, num), nn.BatchNorm1d(num))
    num_groups = {"group": num, "layer": None}[to]
    with pytest.raises(ValueError, match=r"^2: a .* would see one number at a time, and make it 0"):
        replace_norms(model, to, num_groups=num_groups, example=EXAMPLE)


def test_an_unmatched_norm_takes_scale_and_shift_of_the_old_one():
    model, images = trained(conv_norm(), 3, 8, 8), torch.randn(4, 3, 8, 8)
    norm = model[1]
    replace_norms(model, "group", num_groups=4, match="none", example=EXAMPLE)
    expected = nn.functional.group_norm(model[0](images), 4, norm.weight, norm.bias)
    assert torch.equal(model(images), expected)


def test_a_shared_norm_stays_shared_and_modes_are_kept():
    norm = nn.BatchNorm2d(3).eval()
    model = nn.Sequential(norm, nn.ReLU(), norm, nn.BatchNorm2d(3))
    report = replace_norms(model, "layer", only="2", example=EXAMPLE)
    assert model[0] is model[2]
    assert [module.training for module in model] == [False, True, False, True]
    assert (report.replaced, report.kept) == ({"0": "batch", "2": "batch"}, {"3": "not selected"})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"to": "groups"}, "Did you mean 'group'"),
        ({"to": "group", "only": "0"}, "'0' matches no norm. Their names are: 1"),
        ({"to": "layer", "num_groups": 4}, "`num_groups` is the number of groups of `to: group`"),
        ({"to": "group", "match": "moment"}, "Did you mean 'moments'"),
        ({"to": "group", "old": "layer"}, "Unknown norm of this model 'layer'.* batch"),
    ],
)
def test_what_cannot_be_meant_is_refused(edit, message):
    with pytest.raises(ValueError, match=message):
        apply_surgery_(conv_norm(), [{"replace_norms": edit}], example=EXAMPLE)


def test_an_edit_that_would_change_nothing_is_refused():
    model = nn.Sequential(nn.GroupNorm(1, 3), nn.Identity())
    with pytest.raises(ValueError, match="none is left to edit: 1 already group"):
        replace_norms(model, "group", example=EXAMPLE)


def test_a_network_without_norms_is_refused():
    with pytest.raises(ValueError, match="Sequential has no norm below it"):
        remove_norms(nn.Sequential(nn.Linear(2, 2)), example=torch.zeros(1, 2))


@pytest.mark.parametrize("edit", [{"replace_norms": "group"}, "remove_norms"])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext"])
def test_an_edited_backbone_is_rebuilt_bit_for_bit_without_images(name, edit):
    backbone = Backbone(name, weights="random", surgery=[edit], img_size=32).eval()
    images = torch.randn(8, 3, 32, 32)
    backbone.calibrate_(images)
    again = rebuild(backbone.description).eval()
    again.load_state_dict(backbone.state_dict())
    assert torch.equal(again(images), backbone(images))


def test_a_norm_tells_where_its_channels_are_in_images_as_wide_as_they_are_many():
    backbone = Backbone(
        "test_convnext", weights="random", img_size=96, surgery=[{"replace_norms": "group"}]
    )
    dims = {
        name: module.channels.dim
        for name, module in backbone.model.named_modules()
        if isinstance(module, MatchedNorm)
    }
    in_front = {"stem.1", *(f"stages.{stage}.downsample.0" for stage in (1, 2, 3))}
    assert {name for name, dim in dims.items() if dim == 1} - {"head.norm"} == in_front


@pytest.mark.parametrize("num", [1, 8])
@pytest.mark.parametrize(("norm", "dim"), [(nn.LayerNorm, -1), (LayerNorm, -1), (LayerNorm2d, 1)])
def test_a_norm_tells_where_its_channels_are_behind_other_layers(norm, dim, num):
    model = nn.Sequential(nn.Conv2d(num, num, 1), nn.Linear(num, num), norm(num))
    find = find_channels(model, [model[2]], torch.zeros(1, num, num, num))
    assert find.known[model[2]] == (num, dim)


def test_parameters_of_new_norms_lie_in_the_group_of_the_old():
    plain, edited = (
        Backbone("test_efficientnet", weights="random", surgery=surgery).layer_groups()
        for surgery in ([], [{"replace_norms": "group"}])
    )
    old = {group: {name.rpartition(".")[0] for name in names} for group, names in plain.items()}
    new = {
        group: {name.rpartition(".")[0].removesuffix(".norm") for name in names}
        for group, names in edited.items()
    }
    assert new == old


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
def test_a_removed_batch_norm_leaves_what_it_did_in_evaluation(norm):
    model, images = trained(conv_norm(norm=norm), 3, 8, 8), torch.randn(4, 3, 8, 8)
    before = model(images)
    report = remove_norms(model, example=EXAMPLE)
    assert report.replaced == {"1": "batch"}
    assert torch.allclose(model.train()(images), before, atol=1e-5)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]


def test_a_removed_layer_norm_leaves_mean_and_deviation():
    model, images = trained(conv_norm(norm=LayerNorm2d), 3, 8, 8), torch.randn(32, 3, 8, 8)
    before = moments(model, images)
    remove_norms(model, example=EXAMPLE)
    assert torch.allclose(moments(calibrate_(model, images), images), before, atol=1e-4)


@pytest.mark.parametrize("edit", ["fold_norms", "remove_norms"])
def test_norms_that_wait_for_new_statistics_are_refused(edit):
    edits = [{"reestimate_statistics": {"blend": 0.1}}, edit]
    with pytest.raises(ValueError, match=r"^1: `reestimate_statistics` gives these norms new stat"):
        apply_surgery_(conv_norm(), edits, example=EXAMPLE)


@pytest.mark.parametrize("edit", ["fold_norms", "remove_norms", {"replace_norms": "layer"}])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
@pytest.mark.parametrize("first", ["remove_norms", {"replace_norms": "group"}])
def test_norms_that_an_edit_in_front_has_replaced_are_named(first, norm, edit):
    message = "An edit in front has replaced or removed these norms already: 1. Leave one"
    with pytest.raises(ValueError, match=message):
        apply_surgery_(conv_norm(norm=norm), [first, edit], example=EXAMPLE)


def test_a_pattern_of_norms_that_an_edit_in_front_has_replaced_is_refused():
    model = nn.Sequential(*conv_norm(), nn.BatchNorm2d(16))
    edits = [{"remove_norms": {"only": "1"}}, {"replace_norms": {"to": "group", "only": "1"}}]
    with pytest.raises(ValueError, match="already: 1"):
        apply_surgery_(model, edits, example=EXAMPLE)
