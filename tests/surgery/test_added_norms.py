"""Batch norms added to networks without."""

import pytest
import timm
import torch
from torch import nn

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.surgery.adapters import add_lora
from tltool.surgery.added_norms import add_norms
from tltool.surgery.calibration import calibrate_
from tltool.surgery.edits import apply_surgery_

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Tokens(nn.Module):
    """A linear layer on channels that stand last."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)

    def forward(self, images):
        return self.linear(images.flatten(2).transpose(1, 2))


def vgg():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(256, 6), nn.ReLU())


@pytest.mark.parametrize("make", [vgg, Tokens])
def test_added_norms_leave_the_outputs_in_evaluation(make):
    model, images = make().eval(), 3 * torch.randn(16, 3, 8, 8) + 2
    state, before = {key: value.clone() for key, value in model.state_dict().items()}, model(images)
    apply_surgery_(model, ["add_norms"], example=EXAMPLE)
    calibrate_(model, images[:8])
    assert torch.allclose(model(images), before, atol=1e-5)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_added_norms_normalize_by_the_batch_in_training():
    model, images = vgg(), torch.randn(16, 3, 8, 8)
    add_norms(model, only="3", example=EXAMPLE)
    before = calibrate_(model, images)[:4].eval()(images)
    model.train()
    assert torch.allclose(model[:4](images), before, atol=1e-4)
    assert torch.allclose(model[:4](images + 1).mean(dim=0), before.mean(dim=0), atol=1e-4)


def test_a_layer_with_a_norm_right_behind_gets_none():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3))
    report = add_norms(model, example=EXAMPLE)
    assert report.added == ("2",)
    assert report.kept == {"0": "with a norm right behind"}


def test_a_layer_with_a_norm_of_another_edit_behind_gets_none():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3))
    edits = [{"replace_norms": "group"}, "add_norms"]
    assert apply_surgery_(model, edits, example=EXAMPLE)[1].added == ("2",)


def test_a_layer_that_has_an_added_norm_gets_no_second_one():
    model = vgg()
    first, second = apply_surgery_(
        model, [{"add_norms": {"only": "3"}}, "add_norms"], example=EXAMPLE
    )
    assert (first.added, second.added) == (("3",), ("0",))
    assert second.kept == {"3": "with a norm right behind"}


def test_a_network_with_a_norm_behind_each_layer_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match="can have a batch norm added: 1 with a norm right behind"):
        add_norms(model, example=EXAMPLE)


def test_a_pattern_without_a_layer_is_refused():
    message = r"'1' matches no linear layer or convolution. Their names are: 0, 3"
    with pytest.raises(ValueError, match=message):
        add_norms(vgg(), only="1", example=EXAMPLE)


def test_a_layer_with_an_adapter_is_refused():
    model = vgg()
    add_lora(model, 1, only="3")
    with pytest.raises(ValueError, match=r"^3 .* Put `add_norms` in front of `add_lora`"):
        add_norms(model, example=EXAMPLE)
    assert add_norms(model, only="0", example=EXAMPLE).added == ("0",)


def test_a_shared_layer_stays_shared_and_modes_are_kept():
    conv = nn.Conv2d(3, 3, 3, padding=1).eval()
    model = nn.Sequential(conv, nn.ReLU(), conv)
    report = add_norms(model, example=EXAMPLE)
    assert model[0] is model[2]
    assert (report.num_added, report.added) == (1, ("0", "2"))
    assert not model[0].added_norm.norm.training


def test_a_backbone_with_added_norms_is_rebuilt_bit_for_bit_without_images():
    edit = {"add_norms": {"only": "stages.0.*"}}
    backbone = Backbone("test_nfnet", weights="random", surgery=[edit], img_size=32).eval()
    images = torch.randn(8, 3, 32, 32)
    backbone.calibrate_(images)
    again = rebuild(backbone.description).eval()
    again.load_state_dict(backbone.state_dict())
    assert torch.equal(again(images), backbone(images))
    groups = backbone.layer_groups()
    added = {name for name, _ in backbone.named_parameters() if "added_norm" in name}
    assert added <= set(groups["stages.0"])


@pytest.mark.parametrize("is_calibrated", [False, True])
@pytest.mark.parametrize("edit", ["fold_norms", {"replace_norms": "group"}, "remove_norms"])
def test_an_added_norm_stays_whether_it_has_its_statistics_or_not(edit, is_calibrated):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), vgg()).eval()
    apply_surgery_(model, ["add_norms"], example=EXAMPLE)
    if is_calibrated:
        calibrate_(model, torch.randn(8, 3, 8, 8))
    (report,) = apply_surgery_(model, [edit], example=EXAMPLE)
    assert report.kept["3.0.added_norm.norm"] == "added by `add_norms`"


@pytest.mark.parametrize(("name", "num_added"), [("vgg11", 11), ("vgg11_bn", 3)])
def test_a_vgg_gives_the_logits_it_gave_and_trains(name, num_added):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2, mlp_ratio=1 / 64).eval()
    nn.init.normal_(model.head.fc.weight)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 2
    before = model(images).detach()
    scale = before.abs().max().item()
    assert add_norms(model, example=images[:1]).num_added == num_added
    calibrate_(model, images[:8])
    torch.testing.assert_close(model(images), before, rtol=0, atol=scale * 1e-5)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=1e-3)
    losses = [nn.functional.cross_entropy(model(images), labels)]
    losses[0].backward()
    optimizer.step()
    losses.append(nn.functional.cross_entropy(model(images), labels))
    assert losses[1] < losses[0]
