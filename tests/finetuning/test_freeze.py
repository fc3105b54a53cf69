"""A frozen group has no gradients, and all of it is in eval mode."""

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import group_parameters
from torch import nn

from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.parameter_kinds import parameters_of_kind
from tltool.models.layer_groups import layer_groups, name_groups

NAMES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_nfnet"]


def modes(module, *kinds):
    return {name: m.training for name, m in module.named_modules() if isinstance(m, kinds)}


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_backbone_is_in_eval_mode_throughout(make_task, name):
    task = make_task(name)
    set_trainable_(task, layer_groups(task), ["head"])
    assert not any(m.training for m in task.backbone.modules())
    assert not any(p.requires_grad for p in task.backbone.parameters())
    assert all(m.training for m in task.head.modules())
    assert all(p.requires_grad for p in task.head.parameters())
    assert task.training


@pytest.mark.parametrize("name", NAMES)
def test_unfreezing_all_undoes_freezing(make_task, name):
    task = make_task(name)
    set_trainable_(task, layer_groups(task), ["head"])
    set_trainable_(task, layer_groups(task), list(layer_groups(task)))
    assert all(m.training for m in task.modules())
    assert all(p.requires_grad for p in task.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_last_group_can_train_alone_with_the_head(make_task, name):
    task = make_task(name)
    groups = layer_groups(task)
    last = list(groups)[-2]
    set_trainable_(task, groups, [last, "head"])
    trained = {name for name, p in task.named_parameters() if p.requires_grad}
    assert trained == {*groups[last], *groups["head"]}


def test_dropout_and_drop_path_follow_their_group(make_task):
    task = make_task("test_vit", proj_drop_rate=0.1, drop_path_rate=0.1, pos_drop_rate=0.1)
    set_trainable_(task, layer_groups(task), ["backbone.blocks.4", "backbone.blocks.5", "head"])
    kinds = modes(task.backbone.model, nn.Dropout, DropPath)
    trained = {name for name, mode in kinds.items() if mode}
    of_trained_blocks = {name for name in kinds if name.startswith(("blocks.4", "blocks.5"))}
    # The root's dropout behind the last block is that block's; that behind the embedding is not.
    assert trained == of_trained_blocks | {"head_drop"}
    assert "pos_drop" in kinds


def test_batch_norm_with_activation_is_frozen_with_its_group(make_task):
    task = make_task("test_efficientnet")
    set_trainable_(task, layer_groups(task), ["backbone.blocks.4", "head"])
    norms = modes(task.backbone.model, nn.BatchNorm2d)
    assert {name for name, mode in norms.items() if mode} == {
        name for name in norms if name.startswith(("blocks.4", "bn2"))
    }


def test_swin_blocks_freeze_with_their_drop_paths():
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, img_size=32, window_size=1
    )
    groups = name_groups(group_parameters(model, model.group_matcher(coarse=True)))
    set_trainable_(model, groups, ["layers.3", "norm"])
    paths = modes(model, DropPath)
    assert {name for name, mode in paths.items() if mode} == {
        name for name in paths if name.startswith("layers.3.")
    }


def test_a_batch_norm_without_parameters_is_frozen_too():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False), nn.Linear(2, 1))
    groups = {"body": ["0.weight", "0.bias"], "head": ["2.weight", "2.bias"]}
    set_trainable_(model, groups, ["head"])
    assert [child.training for child in model] == [False, False, True]


def test_a_shared_module_trains_if_one_of_its_groups_does():
    drop = nn.Dropout()
    body, head = nn.Sequential(nn.Linear(2, 2), drop), nn.Sequential(nn.Linear(2, 1), drop)
    model = nn.Sequential(head, body)
    groups = {"head": ["0.0.weight", "0.0.bias"], "body": ["1.0.weight", "1.0.bias"]}
    set_trainable_(model, groups, ["head"])
    assert drop.training
    assert not body[0].training


def test_modules_beside_backbone_and_head_keep_their_mode(make_task):
    task = make_task()
    task.augment = nn.Dropout()
    set_trainable_(task, layer_groups(task), ["head"])
    assert task.augment.training


def test_freezing_drops_gradients_that_were_left_over(make_task):
    task = make_task()
    task.head(task.backbone(torch.randn(2, 3, 32, 32))).sum().backward()
    set_trainable_(task, layer_groups(task), ["head"])
    assert all(p.grad is None for p in task.backbone.parameters())
    assert all(p.grad is not None for p in task.head.parameters())


def test_the_state_dict_keeps_its_keys_and_values(make_task):
    task = make_task()
    before = {key: value.clone() for key, value in task.state_dict().items()}
    set_trainable_(task, layer_groups(task), ["head"])
    after = task.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_only_parameters_of_the_chosen_kind_train(make_task):
    task = make_task()
    groups = layer_groups(task)
    kinds = dict.fromkeys(groups, "norms") | {"head": "all"}
    set_trainable_(task, groups, kinds)
    trained = {name for name, p in task.named_parameters() if p.requires_grad}
    assert trained == parameters_of_kind(task, "norms") | set(groups["head"])
    assert all(m.training for m in task.modules())


MODES = {"train": (True, True), "eval": (False, True), "adapt": (True, False)}


@pytest.mark.parametrize(
    ("batch_norm", "updates", "trains"),
    [(mode, *does) for mode, does in (MODES | {"frozen": (False, False)}).items()],
)
def test_what_batch_norms_of_a_trained_group_do(make_task, batch_norm, updates, trains):
    task = make_task("test_efficientnet")
    set_trainable_(task, layer_groups(task), list(layer_groups(task)), batch_norm=batch_norm)
    norms = [m for m in task.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.training for norm in norms} == {updates}
    assert {norm.weight.requires_grad for norm in norms} == {trains}
    assert task.backbone.model.conv_stem.weight.requires_grad


@pytest.mark.parametrize("batch_norm", [*MODES, "frozen"])
def test_batch_norms_of_the_head_train_with_it_in_each_mode(make_task, batch_norm):
    task = make_task()
    norm = nn.BatchNorm1d(8)
    task.head = nn.Sequential(norm, task.head)
    set_trainable_(task, layer_groups(task), ["backbone.layer4", "head"], batch_norm=batch_norm)
    assert norm.training
    assert norm.weight.requires_grad


def test_a_choice_that_leaves_nothing_to_train_is_refused(make_task):
    task = make_task("test_nfnet")
    kinds = {"backbone.stem": "norms", "head": "all"}
    with pytest.raises(ValueError, match=r"No norms would train in backbone.stem.*Choose other"):
        set_trainable_(task, layer_groups(task), kinds)


def test_an_unknown_group_is_refused_with_the_choices(make_task):
    task = make_task()
    with pytest.raises(ValueError, match="Unknown layer group 'tail'"):
        set_trainable_(task, layer_groups(task), ["tail"])
