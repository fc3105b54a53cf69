"""The layers in front of a cut: what their rows are rounded to, and what decides their name."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from tltool.features.activation_cut import features_behind
from tltool.features.cut_search import find_cut
from tltool.features.fingerprint import make_fingerprint
from tltool.features.frozen_front import TOLERANCES, ActivationRangeError, FrozenFront

cuts = runpy.run_path(str(Path(__file__).with_name("test_activation_cut.py")))
NAMES, frozen_but_last = cuts["NAMES"], cuts["frozen_but_last"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_rounding_changes_features_by_no_more_than_the_tolerance(name, dtype):
    backbone, images = frozen_but_last(name)
    backbone.eval()
    cut = find_cut(backbone, images)
    with torch.no_grad():
        rows = FrozenFront(backbone, cut, dtype)(images).float().view(3, *cut.shape)
        found, expected = features_behind(backbone, cut, rows), backbone(images)
    assert (found - expected).norm() < TOLERANCES[dtype] * expected.norm()


@pytest.fixture
def large():
    """A backbone whose frozen layers give more than 65,504, and images for it."""
    backbone, images = frozen_but_last("test_resnet")
    backbone.eval()
    nn.init.constant_(backbone.model.layer2[-1].bn2.bias, 1e5)
    return backbone, find_cut(backbone, images), images


def test_what_is_too_large_for_fp16_is_an_error_with_the_remedy(large):
    backbone, cut, images = large
    with pytest.raises(ActivationRangeError, match=r"up to 1e\+05.*65504. Keep .* in bf16"):
        FrozenFront(backbone, cut)(images)


def test_bf16_holds_what_is_too_large_for_fp16(large):
    backbone, cut, images = large
    with torch.no_grad():
        assert FrozenFront(backbone, cut, "bf16")(images).isfinite().all()


def test_each_type_has_a_name_of_its_own():
    backbone, images = frozen_but_last("test_resnet")
    cut = find_cut(backbone, images)
    fronts = [FrozenFront(backbone, cut, dtype) for dtype in TOLERANCES]
    assert len({make_fingerprint(front, {}).name for front in fronts}) == 3


def test_the_name_of_activations_stays_while_later_layers_train():
    backbone, images = frozen_but_last("test_vit")
    cut = find_cut(backbone, images)
    before = make_fingerprint(FrozenFront(backbone, cut), {})
    with torch.no_grad():
        backbone.model.blocks[-1].mlp.fc1.weight.add_(1)
    assert make_fingerprint(FrozenFront(backbone, cut), {}) == before


def test_the_name_of_activations_stays_with_numbers_that_later_layers_hold():
    backbone, images = frozen_but_last("test_vit")
    cut = find_cut(backbone, images)
    before = make_fingerprint(FrozenFront(backbone, cut), {})
    backbone.model.blocks[-1].attn.scale *= 2
    assert make_fingerprint(FrozenFront(backbone, cut), {}) == before
    backbone.model.blocks[0].attn.scale *= 2
    assert make_fingerprint(FrozenFront(backbone, cut), {}) != before


@pytest.mark.parametrize(
    "name", ["model.blocks.0.mlp.fc1.weight", "model.pos_embed", "model.cls_token"]
)
def test_the_name_of_activations_changes_with_a_frozen_weight(name):
    backbone, images = frozen_but_last("test_vit")
    cut = find_cut(backbone, images)
    before = make_fingerprint(FrozenFront(backbone, cut), {})
    with torch.no_grad():
        backbone.get_parameter(name).add_(1)
    assert make_fingerprint(FrozenFront(backbone, cut), {}) != before


def test_the_name_of_activations_changes_with_the_code_of_an_own_backbone():
    backbone, images = frozen_but_last("test_resnet")
    cut = find_cut(backbone, images)
    before = make_fingerprint(FrozenFront(backbone, cut), {})
    backbone.__class__ = type("Own", (type(backbone),), {"forward": lambda self, x: 2 * x})
    assert make_fingerprint(FrozenFront(backbone, cut), {}) != before


def test_another_cut_has_another_name():
    names = []
    for num_groups in (1, 2):
        backbone, images = frozen_but_last("test_resnet", num_groups)
        names.append(make_fingerprint(FrozenFront(backbone, find_cut(backbone, images)), {}).name)
    assert names[0] != names[1]


def test_folded_layers_give_the_same_rows():
    backbone, images = frozen_but_last("test_resnet")
    front = FrozenFront(backbone, find_cut(backbone, images), "fp32").eval()
    with torch.inference_mode():
        folded = front.folded(images)
        torch.testing.assert_close(folded(images), front(images), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())


def test_a_batch_norm_that_trains_is_not_folded_into_a_frozen_convolution():
    backbone, images = frozen_but_last("test_efficientnet")
    backbone.requires_grad_(False).eval().model.bn2.requires_grad_(True)
    nn.init.constant_(backbone.model.bn2.weight, 2.0)
    front = FrozenFront(backbone, find_cut(backbone, images)).eval()
    with torch.inference_mode():
        assert front.cut.boundary == "model.conv_head"
        assert front.folded(images) is None
