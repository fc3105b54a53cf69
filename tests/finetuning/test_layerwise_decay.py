"""Layer-wise decay is timm's, and layers refine layer groups."""

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay

from tltool.finetuning.param_groups import lr_groups, param_groups, split_by_layer_
from tltool.finetuning.phase import Phase
from tltool.models.layer_groups import layer_groups, layers

FAMILIES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "resnet18"]
DECAY = 0.7


def scales_of(task, weight_decay=0.05):
    """Return the scale of the learning rate and the weight decay of each parameter."""
    optimizer = torch.optim.SGD(param_groups(task, weight_decay), lr=1.0)
    split_by_layer_(optimizer, task, layers(task))
    phase = Phase("all", tuple(layer_groups(task)), layer_decay=DECAY)
    places = lr_groups(optimizer, task, layer_groups(task), layers(task))
    names = {id(p): name for name, p in task.named_parameters()}
    return {
        names[id(p)]: (phase.group_lr_scale(place.group, place.depth), group["weight_decay"])
        for place, group in zip(places, optimizer.param_groups, strict=True)
        for p in group["params"]
    }


def scales_of_timm(name, weight_decay=0.05):
    model = timm.create_model(name, num_classes=3)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = param_groups_layer_decay(model, weight_decay, layer_decay=DECAY)
    scales = {
        names[id(p)]: (pytest.approx(group["lr_scale"]), group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    classifier = model.pretrained_cfg["classifier"]
    return {name: scale for name, scale in scales.items() if not name.startswith(f"{classifier}.")}


@pytest.mark.parametrize("name", [*FAMILIES, "swin_tiny_patch4_window7_224"])
def test_layer_wise_decay_equals_timm(make_task, name):
    options = {"img_size": 32, "window_size": 1} if name.startswith("swin") else {}
    scales = scales_of(make_task(name, **options))
    prefix = "backbone.model."
    backbone = {n.removeprefix(prefix): r for n, r in scales.items() if n.startswith(prefix)}
    assert backbone == scales_of_timm(name)
    assert {scale for name, (scale, _) in scales.items() if name.startswith("head.")} == {1.0}


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_refine_groups(make_task, name):
    task = make_task(name)
    group_of = {n: group for group, names in layer_groups(task).items() for n in names}
    backbone = [names for layer, names in layers(task).items() if layer != "head"]
    assert all(len({group_of[name] for name in names}) == 1 for names in backbone)


def test_a_backbone_without_layers_of_its_own_has_its_groups_for_layers(make_task):
    task = make_task()
    groups = task.backbone.layer_groups()
    task.backbone.layer_groups = lambda: groups
    assert layers(task) == layer_groups(task)


def test_a_split_group_is_named_after_its_layers(make_task):
    task = make_task("resnet18")
    optimizer = torch.optim.SGD(param_groups(task, 0.1), lr=1.0, momentum=0.5)
    before = {id(p) for group in optimizer.param_groups for p in group["params"]}
    split_by_layer_(optimizer, task, layers(task))
    names = [group["name"] for group in optimizer.param_groups]
    assert names[:4] == [
        "backbone.stem",
        "backbone.stem/no_decay",
        "backbone.layer1.0",
        "backbone.layer1.1",
    ]
    assert {group["momentum"] for group in optimizer.param_groups} == {0.5}
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == before


MANY = [
    "resnet50",
    "vit_tiny_patch16_224",
    "convnext_atto",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "regnety_002",
    "densenet121",
    "levit_128s",
    "edgenext_xx_small",
    "fastvit_t8",
    "beit_base_patch16_224",
    "mixer_s32_224",
    "hgnetv2_b0",
    "repvgg_a0",
    "ghostnet_100",
    "mobilevit_xxs",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_coarse_and_fine_groups_are_partitions_on_many_families(name):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    fine = group_parameters(model, model.group_matcher(coarse=False))
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    names = sorted(name for name, _ in model.named_parameters())
    assert sorted(coarse) == names == sorted(n for members in fine.values() for n in members)
    assert all(len({coarse[name] for name in members}) == 1 for members in fine.values())
