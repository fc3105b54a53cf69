"""The optimizer's parameter groups are a partition, and decay only what should decay."""

import pytest
import torch
from torch import nn

from tltool.finetuning.param_groups import param_groups
from tltool.models.layer_groups import layer_groups

NAMES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_nfnet"]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_in_exactly_one_group(make_task, name):
    task = make_task(name)
    grouped = [p for group in param_groups(task, 0.1) for p in group["params"]]
    assert len(grouped) == len(list(task.parameters()))
    assert {id(p) for p in grouped} == {id(p) for p in task.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_no_group_is_empty_and_names_are_unique(make_task, name):
    groups = param_groups(make_task(name), 0.1)
    assert all(group["params"] for group in groups)
    assert len({group["name"] for group in groups}) == len(groups)


def test_groups_are_named_after_layer_groups(make_task):
    task = make_task()
    names = [group["name"] for group in param_groups(task, 0.1)]
    expected = [n for group in layer_groups(task) for n in (group, f"{group}/no_decay")]
    assert names == expected


def test_only_matrices_and_filters_decay(make_task):
    task = make_task()
    task.head = nn.Sequential(nn.Linear(384, 4), nn.PReLU(), nn.LayerNorm(4), nn.Linear(4, 3))
    groups = param_groups(task, 0.1)
    decayed = {id(p) for group in groups if group["weight_decay"] == 0.1 for p in group["params"]}
    expected = {id(m.weight) for m in task.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    assert decayed == expected


def test_listed_names_do_not_decay(make_task):
    task = make_task("test_vit")
    groups = param_groups(task, 0.1, no_weight_decay=["pos_embed", "model.cls_token"])
    stem = next(group for group in groups if group["name"] == "backbone.stem/no_decay")
    model = task.backbone.model
    assert {id(p) for p in stem["params"]} >= {id(model.pos_embed), id(model.cls_token)}


def test_a_shared_parameter_is_in_one_group(make_task):
    task = make_task()
    task.head = nn.Sequential(nn.Linear(384, 384), nn.Linear(384, 384), nn.Linear(384, 3))
    task.head[1].weight = task.head[0].weight
    grouped = [id(p) for group in param_groups(task, 0.1) for p in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(task.parameters()))


def test_any_optimizer_takes_them_and_keeps_their_names(make_task):
    optimizer = torch.optim.AdamW(param_groups(make_task(), 0.1), lr=1e-3)
    assert optimizer.param_groups[-1]["name"] == "head/no_decay"
    assert optimizer.state_dict()["param_groups"][-1]["name"] == "head/no_decay"
