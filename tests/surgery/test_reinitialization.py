import math

import pytest
import torch
from torch import nn

from tltool.layers.gains import activation_gain
from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.surgery.activations_behind import activations_behind
from tltool.surgery.edits import apply_surgery_


def made(*surgery, name="test_resnet", seed=0):
    torch.manual_seed(seed)
    return Backbone(name, weights="random", surgery=surgery)


def begun_anew(backbone, **arguments):
    """Return the names of what an edit has changed in a backbone that has trained."""
    with torch.no_grad():
        for tensor in backbone.model.state_dict().values():
            tensor.add_(3)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.edit_([{"reinitialize": arguments}])
    return {name for name, value in backbone.state_dict().items() if (value != before[name]).any()}


@pytest.mark.parametrize("init", [None, "kaiming_normal", {"name": "trunc_normal", "std": 0.01}])
@pytest.mark.parametrize("groups", [[-1], "layer4", ["backbone.layer4", 4]])
def test_all_of_a_chosen_group_begins_anew_and_nothing_else(groups, init):
    backbone = made()
    changed = begun_anew(backbone, groups=groups, init=init)
    assert changed == {name for name in backbone.state_dict() if name.startswith("model.layer4.")}


def test_the_model_begins_as_it_does_by_itself():
    backbone = made()
    torch.manual_seed(7)
    begun_anew(backbone, groups=list(range(5)))
    torch.manual_seed(7)
    own = Backbone("test_resnet", weights="random").state_dict()
    assert all(torch.equal(value, own[name]) for name, value in backbone.state_dict().items())


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    edit = {"reinitialize": {"groups": [-1], "init": "kaiming_normal"}}
    first, again, other = (
        made(edit, seed=seed).state_dict()["model.layer4.0.conv1.weight"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_slopes_that_another_edit_has_added_stay():
    backbone = made({"swap_activations": "prelu"})
    changed = begun_anew(backbone, groups=[-1])
    assert "model.layer4.0.conv1.weight" in changed
    assert "model.layer4.0.act1.weight" not in changed


def test_weights_have_the_gain_of_the_activation_that_is_there():
    backbone = made({"swap_activations": "silu"}, name="test_vit")
    begun_anew(backbone, groups=["blocks.5"], init="kaiming_normal")
    block = backbone.model.blocks[5]
    gain = block.mlp.fc1.weight.std() * math.sqrt(block.mlp.fc1.in_features)
    assert gain.item() == pytest.approx(activation_gain("silu"), rel=0.03)
    gain = block.mlp.fc2.weight.std() * math.sqrt(block.mlp.fc2.in_features)
    assert gain.item() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.3.0.conv_dw", "silu"),
        ("blocks.3.0.se.conv_reduce", "silu"),
        ("blocks.3.0.se.conv_expand", "identity"),
        ("blocks.3.0.conv_pwl", "identity"),
    ],
)
def test_the_activation_behind_a_layer_is_no_gate_and_not_that_of_the_next_layer(name, expected):
    model = made(name="test_efficientnet").model
    found = activations_behind(model)[model.get_submodule(name)]
    assert (found if isinstance(found, str) else found["name"]) == expected


def test_settings_of_an_activation_count():
    layers = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.3), nn.Linear(2, 2), nn.ReLU6())
    assert list(activations_behind(layers).values()) == [
        {"name": "leaky_relu", "negative_slope": 0.3},
        {"name": "relu6"},
    ]


def test_a_checkpoint_brings_the_weights_of_the_group():
    backbone = made({"reinitialize": {"groups": [-1], "init": "orthogonal"}})
    again = rebuild(backbone.description)
    again.load_state_dict(backbone.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), backbone.eval()(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": ["layer9"]}, "Unknown layer group 'layer9'. Did you mean 'layer"),
        ({"groups": [5]}, "counts from 0 to 4, or back from -1 to -5; got 5. ResNet has: stem, "),
        ({"groups": []}, r"nothing to initialize, got \[\]. Name layer groups of ResNet"),
        ({"groups": [-1], "init": "kaiming_norml"}, "Did you mean 'kaiming_normal'"),
        ({"groups": [-1], "init": {"name": "normal", "sd": 1}}, "sd"),
        ({"init": "normal"}, "reinitialize needs `groups`"),
        ({"groups": [-1], "new_model": 1}, "Unknown reinitialize argument 'new_model'"),
    ],
)
def test_what_cannot_be_initialized_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        made({"reinitialize": arguments})


def test_a_group_without_layers_has_nothing_for_an_initializer():
    with pytest.raises(ValueError, match=r"head.norm holds no linear layer .* Leave `init` out"):
        made({"reinitialize": {"groups": [-1], "init": "normal"}}, name="test_convnext")


def test_a_layer_with_adapters_is_refused():
    with pytest.raises(ValueError, match="Put `reinitialize` in front of `add_lora`"):
        made({"add_lora": 2}, {"reinitialize": [-1]})


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("edit", ["replace_norms", "remove_norms"])
def test_a_group_whose_norms_another_edit_has_replaced_is_refused(name, edit):
    edited = {edit: {"to": "group"} if edit == "replace_norms" else {}}
    with pytest.raises(ValueError, match=f"Put `reinitialize` in front of `{edit}`"):
        made(edited, {"reinitialize": [-2]}, name=name)


@pytest.mark.parametrize(
    ("name", "group"),
    [("test_resnet", -1), ("test_byobnet", -1), ("test_coatnet", "stem")],
    ids=["new bias", "merged block", "bias of its own"],
)
def test_a_group_with_folded_norms_is_refused(name, group):
    with pytest.raises(ValueError, match="Put `reinitialize` in front of `fold_norms`"):
        made("fold_norms", {"reinitialize": [group]}, name=name)


def test_a_group_whose_norms_are_not_folded_begins_anew():
    backbone = made({"fold_norms": {"only": "layer1.*"}})
    assert begun_anew(backbone, groups=[-1], init="kaiming_normal")


def test_removed_norms_lie_in_the_group_of_the_layer_in_front():
    edit = {"remove_norms": {"only": ["bn1", "layer2.*"]}}
    made(edit, {"reinitialize": ["layer1", "layer3", "layer4"]})
    with pytest.raises(ValueError, match=r"^bn1 keeps what `remove_norms` took from the norm"):
        made(edit, {"reinitialize": "stem"})


def test_a_model_whose_groups_are_not_known_is_refused():
    with pytest.raises(ValueError, match=r"Use Backbone\(name, surgery="):
        apply_surgery_(nn.Sequential(nn.Linear(2, 2)), [{"reinitialize": [-1]}])
