"""Layers that were edited and do not train are said, with the groups, the phases and the cure."""

import pytest
from torch import nn

from tltool.finetuning.frozen_edits import damaged_groups
from tltool.finetuning.plan_warnings import schedule_warnings
from tltool.finetuning.strategies import LPFT, GradualUnfreezing, LastBlocks, LinearProbe
from tltool.models.backbone import Backbone
from tltool.models.layer_groups import layer_groups

GELU = {"swap_activations": "gelu"}
CURE = "Train these groups, or set `match: moments`"


def warnings_of(strategy, *surgery, name="test_resnet"):
    backbone = Backbone(name, weights="random", surgery=surgery)
    head = nn.Linear(backbone.num_features, 2)
    task = nn.ModuleDict({"backbone": backbone, "head": head})
    schedule = strategy.resolved_schedule(list(layer_groups(task)), 6)
    warnings = schedule_warnings(schedule, task, batch_per_device=None)
    return [warning for warning in warnings if warning.startswith("Surgery")]


FAMILIES = ["test_resnet", "test_efficientnet", "test_vit", "tf_efficientnet_lite0"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_frozen_backbone_with_other_activations_is_said_with_the_cure(name):
    (warning,) = warnings_of(LinearProbe(), {"swap_activations": "elu"}, GELU, name=name)
    assert CURE in warning
    assert "in phase 'probe'" in warning


@pytest.mark.parametrize(
    ("surgery", "groups"),
    [
        ({"swap_activations": {"to": "gelu", "only": "layer1.*"}}, "backbone.layer1 in phase"),
        ({"swap_activations": {"to": "gelu", "only": ["conv1.*", "layer2.*"]}}, "backbone.stem, "),
        (
            {"replace_norms": {"to": "group", "only": "layer3.*", "match": "none"}},
            "backbone.layer3",
        ),
        ({"reinitialize": {"groups": ["layer2"]}}, "features are random: backbone.layer2 in phase"),
    ],
)
def test_the_groups_are_those_of_the_edited_layers(surgery, groups):
    (warning,) = warnings_of(LastBlocks(num_groups=1), surgery)
    assert groups in warning


@pytest.mark.parametrize(
    ("strategy", "surgery"),
    [
        (LastBlocks(num_groups=1), {"swap_activations": {"to": "gelu", "only": "layer4.*"}}),
        (LastBlocks(num_groups=1), {"reinitialize": [-1]}),
        (LinearProbe(), {"swap_activations": {"to": "gelu", "match": "moments"}}),
        (LinearProbe(), {"add_lora": {"rank": 2}}),
        (LinearProbe(), {"swap_activations": "prelu"}),
        (LinearProbe(), {"replace_norms": "group"}),
        (LinearProbe(), "fold_norms"),
    ],
    ids=["trained", "random but trained", "matched", "adapters", "exact", "norms", "folded"],
)
def test_an_edit_that_trains_or_damages_nothing_is_not_said(strategy, surgery):
    assert warnings_of(strategy, surgery) == []


def test_a_slope_of_its_own_is_not_exact():
    edit = {"swap_activations": {"to": {"name": "prelu", "init": 0.25}}}
    assert len(warnings_of(LinearProbe(), edit)) == 1


def test_the_phases_are_those_that_freeze_the_edited_layers():
    (warning,) = warnings_of(LPFT(probe_epochs=1), GELU)
    assert "in phase 'probe'" in warning
    assert "'full'" not in warning


def test_phases_that_freeze_other_groups_are_told_apart():
    (warning,) = warnings_of(GradualUnfreezing(), GELU)
    assert "(5) in phase 'head'; " in warning
    assert "(4) in phase 'layer4'; in 3 more phases. Train" in warning


def test_an_edited_layer_that_is_not_there_any_more_is_where_it_was():
    names = ["layer1.0.act1", "layer1.0.act2"]
    backbone = Backbone("test_resnet", weights="random", surgery=[GELU])
    backbone.model.layer1[0].act1 = None  # As where another edit has merged a block.
    task = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(2, 2)})
    assert set(names) < set(backbone.surgery_reports[0].swapped)
    assert "backbone.layer1" in damaged_groups(task)["unmatched"]
