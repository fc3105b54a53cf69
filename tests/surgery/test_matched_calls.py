"""An activation that runs several times in its block is matched call by call."""

import copy

import pytest
import torch
from timm.models.res2net import Bottle2neck
from torch import nn

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.surgery.activation_swap import swap_activations
from tltool.surgery.calibration import calibrate_
from tltool.surgery.channel_moments import channel_moments
from tltool.surgery.matched_calls import MatchedCalls


@pytest.fixture
def images(images):
    return images[..., :12, :12]


@pytest.fixture
def model():
    """A block of Res2Net: one relu behind layers of 104, 26, 26, 26 and 256 channels."""
    torch.manual_seed(0)
    block = Bottle2neck(256, 64, norm_layer=nn.BatchNorm2d, drop_path=nn.Identity())
    return nn.Sequential(nn.Conv2d(3, 256, 1), block).eval()


@pytest.fixture
def swap(images):
    def run(model):
        return swap_activations(model, "gelu", match="moments", example=images[:1])

    return run


def moments_of_calls(model, images):
    calls = []
    hook = model[1].relu.register_forward_hook(
        lambda module, inputs, output: calls.append(channel_moments(output.clone(), 1))
    )
    with torch.no_grad():
        model(images)
    hook.remove()
    return [(call.mean, call.std) for call in calls]


def test_each_call_keeps_its_moments(model, images, swap):
    before = moments_of_calls(model, images)
    assert swap(model).num_swapped == 1
    after = moments_of_calls(calibrate_(model, images), images)
    assert [len(mean) for mean, _ in after] == [104, 26, 26, 26, 256]
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


def test_a_copy_counts_its_own_calls(model, images, swap):
    swap(model)
    expected = calibrate_(model, images)(images)
    copied = copy.deepcopy(model)
    model[1].relu._next = 3  # As where a pass of the original was interrupted.
    assert torch.equal(copied(images), expected)
    assert torch.equal(copied(images), expected)
    assert torch.equal(model(images), expected)


def test_more_calls_than_were_matched_are_an_error():
    with pytest.raises(RuntimeError, match=r"matched for 0 calls .* Leave it out"):
        MatchedCalls([])(torch.zeros(1))


def test_a_network_is_rebuilt_bit_for_bit_without_images():
    edit = {"swap_activations": {"to": "gelu", "match": "moments"}}
    few = {"layers": [1, 1, 1, 1]}
    made = Backbone("res2net50_48w_2s", "random", surgery=[edit], model_args=few).eval()
    images = torch.randn(4, 3, 32, 32)
    made.calibrate_(images)
    again = rebuild(made.description).eval()
    again.load_state_dict(made.state_dict())
    assert "Swapped 5 of 5 activations" in str(made.surgery_reports[0])
    assert torch.equal(again(images), made(images))
