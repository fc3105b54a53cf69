"""Most of timm's networks are cut; how much that saves is counted."""

import pytest
import torch

from tltool.features.activation_cut import activations_in_front
from tltool.features.cut_search import find_cut
from tltool.features.cut_survey import compute_factor, count_operations, report_cut
from tltool.models.backbone import Backbone
from tltool.models.timm_catalog import smallest_of_each_family

#: Each twelfth module of timm, and those whose networks are built in ways of their own.
FAMILIES = [*list(smallest_of_each_family())[3::12], "coat", "fastvit", "hiera", "rdnet", "vgg"]
UNCUT = {"crossvit", "gemma4_vit", "mvitv2", "tnt", "twins"}


def test_the_factor_is_what_runs_with_images_by_what_runs_behind_the_cut():
    backbone = Backbone("test_resnet", weights="random", img_size=32).eval()
    backbone.requires_grad_(False).model.layer4.requires_grad_(True)
    images = torch.randn(2, 3, 32, 32)
    cut = find_cut(backbone, images)
    with torch.no_grad():
        front = count_operations(lambda: activations_in_front(backbone, cut, images))
    whole = count_operations(lambda: torch.autograd.backward(backbone(images).sum()))
    assert compute_factor(backbone, cut, images) == pytest.approx(whole / (whole - front))


@pytest.mark.slow
def test_a_network_without_a_cut_is_reported_with_the_reason():
    report = report_cut("crossvit_tiny_240", num_groups=2)
    assert (report.boundary, report.factor) == ("", 1)
    assert "gives more than a tensor for each batch" in report.reason


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:CSATv2 is designed:UserWarning")
@pytest.mark.parametrize("family", sorted({*FAMILIES} - UNCUT))
def test_a_sample_of_timms_modules_is_cut_with_less_to_compute(family):
    report = report_cut(smallest_of_each_family()[family], num_groups=2)
    assert report.boundary, report.reason
    assert report.factor > 1
